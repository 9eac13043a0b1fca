from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from langchain_core.documents import Document

from qwen_embed_integrations.errors import InvalidInputError, ServerBusyError, WrongServerError
from qwen_embed_integrations.langchain import ServedRerank

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopback import Answer, Request, Server

    Rerank = Callable[..., ServedRerank]

QUERY = "where do cats sleep"


def _contents(documents: list[Document]) -> list[str]:
    return [document.page_content for document in documents]


def test_documents_come_back_best_first(served_rerank: Rerank, documents: list[Document]) -> None:
    results = served_rerank().compress_documents(documents, QUERY)
    assert [document.id for document in results] == ["b", "a", "c"]


async def test_documents_come_back_best_first_in_async(served_rerank: Rerank, documents: list[Document]) -> None:
    rerank = served_rerank()
    assert await rerank.acompress_documents(documents, QUERY) == rerank.compress_documents(documents, QUERY)


def test_scores_are_written_into_the_metadata(served_rerank: Rerank, documents: list[Document]) -> None:
    results = served_rerank().compress_documents(documents, QUERY)
    assert [document.metadata["relevance_score"] for document in results] == [1.0, 0.5, 0.0]


def test_ids_types_and_all_metadata_are_kept(served_rerank: Rerank) -> None:
    class Page(Document):
        number: int = 0

    page = Page(page_content="cats sleep", metadata={"nested": {"deep": [1, 2]}}, id="p7", number=7)
    (results,) = served_rerank().compress_documents([page], QUERY)
    assert isinstance(results, Page)
    assert (results.id, results.number, results.metadata["nested"]) == ("p7", 7, {"deep": [1, 2]})


def test_the_documents_given_are_left_alone(served_rerank: Rerank, documents: list[Document]) -> None:
    before = [document.model_copy(deep=True) for document in documents]
    results = served_rerank().compress_documents(documents, QUERY)
    for document in results:
        document.metadata["tags"].append("changed")
    assert documents == before


def test_top_n_limits_what_comes_back(served_rerank: Rerank, documents: list[Document]) -> None:
    assert len(served_rerank(top_n=2).compress_documents(documents, QUERY)) == 2


def test_documents_under_the_threshold_are_left_out(served_rerank: Rerank, documents: list[Document]) -> None:
    results = served_rerank(score_threshold=0.5).compress_documents(documents, QUERY)
    assert [document.id for document in results] == ["b", "a"]


def test_no_documents_need_no_request(served_rerank: Rerank, reranker_server: Server) -> None:
    assert served_rerank().compress_documents([], QUERY) == []
    assert reranker_server.requests == []


def test_blank_documents_are_refused_before_anything_is_sent(served_rerank: Rerank, reranker_server: Server) -> None:
    with pytest.raises(InvalidInputError, match="`documents` holds blank text at position 1"):
        served_rerank().compress_documents([Document("cats"), Document("  ")], QUERY)
    assert reranker_server.requests == []


def test_a_qwen3_reranker_gets_its_instruction(served_rerank: Rerank, reranker_server: Server) -> None:
    served_rerank(instruction="Is it about pets?").compress_documents([Document("cats")], QUERY)
    (request,) = reranker_server.posted("/rerank")
    assert request.body["instruct"] == "Is it about pets?"
    assert request.body["documents"] == ["cats"]


def test_replies_of_other_servers_are_read_too(served_rerank: Rerank, reranker_server: Server) -> None:
    def cohere(request: Request) -> Answer | None:
        if not request.path.endswith("/rerank"):
            return 404, {}, {}
        count = len(request.body["documents"])
        return (
            200,
            {"results": [{"index": position, "relevance_score": position / 10} for position in range(count)]},
            {},
        )

    reranker_server.reply(cohere)
    results = served_rerank(dialect="cohere").compress_documents([Document("a"), Document("b")], QUERY)
    assert _contents(results) == ["b", "a"]


def test_rerank_takes_texts_and_gives_positions_and_scores(served_rerank: Rerank) -> None:
    ranked = served_rerank().rerank(["dogs bark", "cats sleep"], QUERY)
    assert [(ranked_document.index, ranked_document.score) for ranked_document in ranked] == [(1, 0.5), (0, 0.0)]


async def test_rerank_takes_top_n_and_instruction_for_one_call(
    served_rerank: Rerank, reranker_server: Server, documents: list[Document]
) -> None:
    rerank = served_rerank(top_n=3, instruction="usual")
    assert len(rerank.rerank(documents, QUERY, top_n=1, instruction="special")) == 1
    assert len(await rerank.arerank(documents, QUERY, top_n=2, instruction="special")) == 2
    assert {request.body["instruct"] for request in reranker_server.posted("/rerank")} == {"special"}


def test_many_documents_go_in_requests_side_by_side(served_rerank: Rerank, reranker_server: Server) -> None:
    reranker_server.latency = 0.05
    documents = [Document(f"cats {number}") for number in range(8)]
    results = served_rerank(batch_size=2, max_concurrency=3).compress_documents(documents, QUERY)
    assert len(results) == 8
    assert 1 < reranker_server.max_in_flight <= 3


def test_a_failing_server_is_an_error_and_no_empty_list(
    served_rerank: Rerank, reranker_server: Server, documents: list[Document]
) -> None:
    reranker_server.reply(lambda _: (503, {"message": "busy"}, {}))
    with pytest.raises(ServerBusyError):
        served_rerank(max_retries=0).compress_documents(documents, QUERY)


def test_an_embedding_server_is_refused(server: Server, documents: list[Document]) -> None:
    rerank = ServedRerank(model="Qwen/Qwen3-Reranker-0.6B", base_url=server.base_url)
    with pytest.raises(WrongServerError):
        rerank.compress_documents(documents, QUERY)


def test_an_embedding_model_is_refused_at_construction(served_rerank: Rerank) -> None:
    with pytest.raises(WrongServerError, match="is an embedding model"):
        served_rerank(model="Qwen/Qwen3-Embedding-0.6B")


def test_top_n_below_one_is_refused(served_rerank: Rerank, documents: list[Document]) -> None:
    with pytest.raises(ValueError, match="top_n"):
        served_rerank(top_n=0)
    with pytest.raises(InvalidInputError, match="`top_n` is 0"):
        served_rerank().rerank(documents, QUERY, top_n=0)
