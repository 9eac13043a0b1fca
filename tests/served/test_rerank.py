"""Reranking over HTTP: what is sent to which server, and which replies are trusted."""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from qwen_embed_integrations.errors import BadReplyError, EndpointNotFoundError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable

    import loopback
    from qwen_embed_integrations import Reranker

    Make = Callable[..., Reranker]

DOCUMENTS = ["cats sleep", "dogs bark", "cats and dogs"]
DEFAULT = "Given a web search query, retrieve relevant passages that answer the query"
PLAIN = "mixedbread-ai/mxbai-rerank-base-v1"
TEI_INFO = {"model_id": "BAAI/bge-reranker-base", "model_type": {"reranker": {"id2label": {"0": "LABEL_0"}}}}


def pairs(ranked: list[Any]) -> list[tuple[int, float]]:
    return [(document.index, document.score) for document in ranked]


def as_vllm(request: loopback.Request) -> loopback.Answer:
    """Answer as vLLM does with a reranker: its routes, its shape."""
    if request.path == "/v1/models":
        return 200, {"object": "list", "data": [{"id": "reranker", "owned_by": "vllm"}]}, {}
    if request.path == "/v1/rerank" and request.method == "POST":
        results = [
            {"index": at, "document": {"text": text, "multi_modal": None}, "relevance_score": 0.5 + at / 10}
            for at, text in enumerate(request.body["documents"])
        ]
        return 200, {"id": "score-1", "model": "r", "usage": {"total_tokens": 12}, "results": results[::-1]}, {}
    return 404, {"detail": "Not Found"}, {}


def as_tei(request: loopback.Request) -> loopback.Answer:
    """Answer as text-embeddings-inference does with a reranker: one route, at the root."""
    if request.path == "/info":
        return 200, TEI_INFO, {}
    if request.path == "/rerank" and request.method == "POST":
        return 200, [{"index": at, "score": 0.5 + at / 10} for at, _ in enumerate(request.body["texts"])][::-1], {}
    return 404, b"", {}


def as_nobody(request: loopback.Request) -> loopback.Answer:
    """Answer rerank requests as Cohere, Jina and Infinity do, and no question about itself."""
    if request.path == "/v1/rerank":
        results = [{"index": at, "relevance_score": 0.5 + at / 10} for at, _ in enumerate(request.body["documents"])]
        return 200, {"results": results[::-1]}, {}
    return 404, b"<html>404</html>", {}


def test_sglang_gets_instruct_and_no_documents_back(reranker_server: loopback.Server, reranker: Make) -> None:
    reranker().rerank("cats", DOCUMENTS, instruction="Find pets")
    (request,) = reranker_server.posted()
    assert request.path == "/v1/rerank"
    assert request.body == {
        "model": "Qwen/Qwen3-Reranker-0.6B",
        "query": "cats",
        "documents": DOCUMENTS,
        "return_documents": False,
        "instruct": "Find pets",
    }


def test_vllm_gets_instruction(reranker_server: loopback.Server, reranker: Make) -> None:
    reranker_server.reply(as_vllm)
    ranked = reranker().rerank("cats", DOCUMENTS, instruction="Find pets")
    assert pairs(ranked) == [(2, 0.7), (1, 0.6), (0, 0.5)]
    assert reranker_server.posted()[0].body == {
        "model": "Qwen/Qwen3-Reranker-0.6B",
        "query": "cats",
        "documents": DOCUMENTS,
        "instruction": "Find pets",
    }


def test_tei_gets_texts_at_the_root(reranker_server: loopback.Server, reranker: Make) -> None:
    reranker_server.reply(as_tei)
    assert pairs(reranker(model=PLAIN).rerank("cats", DOCUMENTS)) == [(2, 0.7), (1, 0.6), (0, 0.5)]
    (request,) = reranker_server.posted()
    assert request.path == "/rerank"
    assert request.body == {"query": "cats", "texts": DOCUMENTS, "raw_scores": False, "return_text": False}


def test_tei_behind_a_proxys_prefix_is_found_there(reranker_server: loopback.Server, reranker: Make) -> None:
    def prefixed(request: loopback.Request) -> loopback.Answer:
        request.path = request.path.removeprefix("/tei")
        return as_tei(request)

    reranker_server.reply(prefixed)
    ours = reranker(model=PLAIN, base_url=f"{reranker_server.root_url}/tei/v1")
    assert pairs(ours.rerank("cats", ["a"])) == [(0, 0.5)]


def test_an_unknown_server_gets_the_instruction_under_both_names(
    reranker_server: loopback.Server, reranker: Make
) -> None:
    reranker_server.reply(as_nobody)
    assert pairs(reranker().rerank("cats", ["a", "b"], instruction="Find pets")) == [(1, 0.6), (0, 0.5)]
    body = reranker_server.posted()[0].body
    assert (body["instruct"], body["instruction"]) == ("Find pets", "Find pets")


def test_an_unknown_dialect_is_refused_with_the_known_ones(reranker: Make) -> None:
    with pytest.raises(InvalidInputError, match=r"`dialect` is 'sgl'.*'auto', 'sglang'.*or a ServerInfo"):
        reranker(dialect="sgl")


def test_the_profiles_instruction_is_sent_where_nobody_gives_one(
    reranker_server: loopback.Server, reranker: Make
) -> None:
    reranker().rerank("cats", DOCUMENTS)
    assert reranker_server.posted()[0].body["instruct"] == DEFAULT


def test_a_model_without_instructions_is_sent_none(reranker_server: loopback.Server, reranker: Make) -> None:
    reranker(model=PLAIN).rerank("cats", DOCUMENTS)
    assert {"instruct", "instruction"}.isdisjoint(reranker_server.posted()[0].body)


def test_an_unknown_model_passes_an_instruction_on(reranker_server: loopback.Server, reranker: Make) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = reranker(model="acme/reranker")
    ours.rerank("cats", DOCUMENTS)
    ours.rerank("cats", DOCUMENTS, instruction="Find pets")
    assert [request.body.get("instruct") for request in reranker_server.posted()] == [None, "Find pets"]


@pytest.mark.parametrize(
    "said",
    [
        pytest.param([{"index": 1, "score": 0.9}, {"index": 0, "score": 0.1}], id="bare list"),
        pytest.param({"results": [{"index": 1, "score": 0.9}, {"index": 0, "score": 0.1}]}, id="sglang-router"),
        pytest.param({"data": [{"index": 1, "score": 0.9}, {"index": 0, "score": 0.1}]}, id="mixedbread"),
        pytest.param(
            {"results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]}, id="relevance"
        ),
        pytest.param(
            {"results": [{"index": 0, "relevance_score": 0.1}, {"index": 1, "relevance_score": 0.9}]}, id="unsorted"
        ),
        pytest.param(
            [{"index": 1, "score": 0.9, "document": "a"}, {"index": 0, "score": 0.1, "document": {"text": "b"}}],
            id="documents that contradict the index",
        ),
    ],
)
def test_scores_are_read_by_index_in_every_known_shape(reranker: Make, said: Any) -> None:
    assert pairs(reranker(lambda _: (200, said, {})).rerank("q", ["a", "b"])) == [(1, 0.9), (0, 0.1)]


@pytest.mark.parametrize(
    "indexes",
    [[0, 0], [1, 1], [0, 2], [-1, 0], [None, 0], ["0", "1"], [0.0, 1.0], [False, True]],
)
def test_indexes_that_are_not_each_document_once_are_refused(reranker: Make, indexes: list[Any]) -> None:
    rows = [{"index": index, "score": 0.5} for index in indexes]
    with pytest.raises(BadReplyError, match="each of 0 to 1 was expected once"):
        reranker(lambda _: (200, rows, {})).rerank("q", ["a", "b"])


def test_rows_without_an_index_are_refused_since_they_come_sorted(reranker: Make) -> None:
    with pytest.raises(BadReplyError, match="each of 0 to 1 was expected once"):
        reranker(lambda _: (200, [{"score": 0.9}, {"score": 0.1}], {})).rerank("q", ["a", "b"])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_or_too_many_scores_are_refused(reranker: Make, count: int) -> None:
    rows = [{"index": at, "score": 0.5} for at in range(count)]
    with pytest.raises(BadReplyError, match=f"{count} scores for 2 documents"):
        reranker(lambda _: (200, {"results": rows}, {})).rerank("q", ["a", "b"])


@pytest.mark.parametrize("score", ["0.9", [0.9], {"value": 0.9}, True])
def test_a_score_that_is_no_number_is_refused(reranker: Make, score: Any) -> None:
    with pytest.raises(BadReplyError, match="a score that is"):
        reranker(lambda _: (200, [{"index": 0, "score": score}], {})).rerank("q", ["a"])


@pytest.mark.parametrize("score", ["NaN", "null", "Infinity", "-Infinity", "1" + "0" * 400, '"absent"'])
def test_a_score_that_is_not_finite_is_an_error(reranker: Make, score: str) -> None:
    row = f'{{"index": 0, "score": {score}}}' if score != '"absent"' else '{"index": 0}'
    with pytest.raises(BadReplyError, match="`documents` at 0 holds NaN, infinite"):
        reranker(lambda _: (200, f"[{row}]".encode(), {})).rerank("q", ["a"])


@pytest.mark.parametrize("said", [{}, {"results": None}, {"data": None}, "text", 3, None, [1, 2], {"results": ["a"]}])
def test_json_of_another_shape_is_refused(reranker: Make, said: Any) -> None:
    with pytest.raises(BadReplyError, match=r"no list of scored documents.*Is it a reranker\?"):
        reranker(lambda _: (200, said, {})).rerank("q", ["a"])


def test_a_page_of_html_is_called_html(reranker: Make) -> None:
    with pytest.raises(BadReplyError, match="HTML"):
        reranker(lambda _: (200, b"<html>nginx</html>", {})).rerank("q", ["a"])


def test_a_missing_endpoint_says_what_to_check(reranker: Make) -> None:
    with pytest.raises(EndpointNotFoundError, match="does the server offer this endpoint"):
        reranker(lambda _: (404, {"detail": "Not Found"}, {})).rerank("q", ["a"])


def test_more_documents_than_a_batch_are_scored_in_several_requests(
    reranker_server: loopback.Server, reranker: Make
) -> None:
    documents = [f"document {at}" + " cats" * (at == 17) for at in range(25)]
    ranked = reranker(batch_size=10).rerank("cats", documents)
    assert sorted(len(request.body["documents"]) for request in reranker_server.posted()) == [5, 10, 10]
    assert ranked[0].index == 17
    assert sorted(document.index for document in ranked) == list(range(25))


def test_sync_and_async_rank_alike(reranker: Make) -> None:
    ours = reranker(batch_size=2)
    assert asyncio.run(ours.arerank("cats bark", DOCUMENTS)) == ours.rerank("cats bark", DOCUMENTS)


def test_top_n_is_cut_here_and_not_sent(reranker_server: loopback.Server, reranker: Make) -> None:
    ranked = reranker(batch_size=1).rerank("cats", DOCUMENTS, top_n=2)
    assert len(ranked) == 2
    assert all("top_n" not in request.body for request in reranker_server.posted())


def test_usage_counts_tokens_and_requests(reranker_server: loopback.Server, reranker: Make) -> None:
    reranker_server.reply(as_vllm)
    ours = reranker(batch_size=2)
    ours.rerank("cats", DOCUMENTS)
    assert (ours.usage.tokens, ours.usage.requests) == (24, 2)
