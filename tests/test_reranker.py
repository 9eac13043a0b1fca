from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

from qwen_embed_integrations import RankedDocument, Reranker
from qwen_embed_integrations.errors import InvalidInputError, WrongServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import loopback

    Make = Callable[..., Reranker]

QWEN3 = "Qwen/Qwen3-Reranker-0.6B"
PLAIN = "mixedbread-ai/mxbai-rerank-base-v1"
DOCUMENTS = ["dogs bark", "cats sleep at night", "cats sleep"]


@pytest.fixture
def make(reranker_server: loopback.Server) -> Iterator[Make]:
    made: list[Reranker] = []

    def one(model: str = QWEN3, **settings: Any) -> Reranker:
        made.append(Reranker.served(model, **{"base_url": reranker_server.base_url, "max_retries": 0, **settings}))
        return made[-1]

    yield one
    for reranker in made:
        reranker.close()


def test_documents_come_best_first_with_their_place_in_the_list(make: Make) -> None:
    ranked = make().rerank("cats at night", DOCUMENTS)
    assert ranked == [RankedDocument(1, 1.0), RankedDocument(2, 1 / 3), RankedDocument(0, 0.0)]


async def test_documents_come_best_first_in_an_event_loop(make: Make) -> None:
    async with make() as reranker:
        assert [document.index for document in await reranker.arerank("cats at night", DOCUMENTS)] == [1, 2, 0]


def test_equal_scores_keep_the_given_order(make: Make) -> None:
    ranked = make(batch_size=2).rerank("cats", ["cats a", "dogs b", "cats c", "dogs d", "cats e"])
    assert [document.index for document in ranked] == [0, 2, 4, 1, 3]


def test_scores_that_differ_by_less_than_float32_tells_are_still_apart(
    reranker_server: loopback.Server, make: Make
) -> None:
    scores = [0.99999999, 0.999999999, 0.9999999999]
    rows = [{"index": position, "score": score} for position, score in enumerate(scores)]
    reranker_server.reply(lambda request: (200, rows, {}) if request.method == "POST" else None)
    assert make().rerank("q", DOCUMENTS) == [(2, scores[2]), (1, scores[1]), (0, scores[0])]


@pytest.mark.parametrize(("top_n", "count"), [(1, 1), (2, 2), (3, 3), (50, 3), (None, 3)])
def test_top_n_is_how_many_come_back_at_most(make: Make, top_n: int | None, count: int) -> None:
    assert len(make().rerank("cats", DOCUMENTS, top_n=top_n)) == count


@pytest.mark.parametrize("top_n", [0, -1, 1.5, "2", True])
def test_a_top_n_that_is_no_count_is_refused(reranker_server: loopback.Server, make: Make, top_n: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"`top_n` is .* whole number of at least 1") as caught:
        make().rerank("cats", DOCUMENTS, top_n=top_n)
    assert caught.value.parameter == "top_n"
    assert reranker_server.requests == []


def test_no_documents_are_no_ranking_and_no_request(reranker_server: loopback.Server, make: Make) -> None:
    assert make().rerank("cats", []) == []
    assert reranker_server.requests == []


async def test_no_documents_are_no_request_in_an_event_loop(reranker_server: loopback.Server, make: Make) -> None:
    assert await make().arerank("cats", []) == []
    assert reranker_server.requests == []


@pytest.mark.parametrize("query", ["", " \n"])
def test_a_blank_query_is_refused(reranker_server: loopback.Server, make: Make, query: str) -> None:
    with pytest.raises(InvalidInputError, match="`query` holds blank text") as caught:
        make().rerank(query, DOCUMENTS)
    assert caught.value.parameter == "query"
    assert reranker_server.requests == []


@pytest.mark.parametrize("query", [None, 5, ["cats"]])
def test_a_query_that_is_no_string_is_refused(make: Make, query: Any) -> None:
    with pytest.raises(InvalidInputError, match="`query` must hold strings"):
        make().rerank(query, DOCUMENTS)


def test_blank_documents_are_named_and_nothing_is_sent(reranker_server: loopback.Server, make: Make) -> None:
    with pytest.raises(InvalidInputError, match="`documents` holds blank text at positions 0, 2") as caught:
        make().rerank("cats", ["", "a", "\t"])
    assert caught.value.positions == (0, 2)
    assert reranker_server.requests == []


def test_one_string_is_not_taken_for_a_list_of_letters(make: Make) -> None:
    with pytest.raises(InvalidInputError, match="`documents` is one string"):
        make().rerank("cats", "cats sleep")


@pytest.mark.parametrize("documents", [None, 5, [None], [{"text": "cats"}]])
def test_documents_that_are_no_strings_are_refused(make: Make, documents: Any) -> None:
    with pytest.raises(InvalidInputError, match="`documents`"):
        make().rerank("cats", documents)


def test_the_objects_instruction_is_sent(reranker_server: loopback.Server, make: Make) -> None:
    make(instruction="Find pets").rerank("cats", DOCUMENTS)
    assert reranker_server.posted()[0].body["instruct"] == "Find pets"


def test_the_calls_instruction_wins_over_the_objects(reranker_server: loopback.Server, make: Make) -> None:
    make(instruction="Find pets").rerank("cats", DOCUMENTS, instruction="Find code")
    assert reranker_server.posted()[0].body["instruct"] == "Find code"


def test_an_instruction_is_refused_at_once_where_the_model_takes_none(make: Make) -> None:
    with pytest.raises(InvalidInputError, match=r"`instruction` was given, but .* takes none"):
        make(PLAIN, instruction="Find pets")
    with pytest.raises(InvalidInputError, match=r"`instruction` was given, but .* takes none"):
        make(PLAIN).rerank("cats", DOCUMENTS, instruction="Find pets")


def test_an_instruction_that_is_no_string_is_refused(make: Make) -> None:
    with pytest.raises(InvalidInputError, match="`instruction` is int"):
        make(instruction=5)
    with pytest.raises(InvalidInputError, match="`instruction` is int"):
        make().rerank("cats", DOCUMENTS, instruction=5)


def test_query_and_documents_are_sent_untouched(reranker_server: loopback.Server, make: Make) -> None:
    make().rerank(" cats\n", [" two\n\nlines\t", "\u200b\U0001f600"])
    body = reranker_server.posted()[0].body
    assert (body["query"], body["documents"]) == (" cats\n", [" two\n\nlines\t", "\u200b\U0001f600"])


def test_an_embedding_model_is_refused_by_name(make: Make) -> None:
    with pytest.raises(WrongServerError, match=r"'Qwen/Qwen3-Embedding-0.6B' is an embedding model; use Embedder"):
        make("Qwen/Qwen3-Embedding-0.6B")


@pytest.mark.parametrize("model", [None, 5, ""])
def test_a_model_that_is_no_name_is_refused(make: Make, model: Any) -> None:
    with pytest.raises(InvalidInputError, match="`model` is"):
        make(model)


def test_nothing_is_sent_before_the_first_use(reranker_server: loopback.Server, make: Make) -> None:
    make()
    assert reranker_server.requests == []


def test_a_progress_bar_counts_documents(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    make(show_progress=True, batch_size=2).rerank("cats", DOCUMENTS)
    shown = capsys.readouterr().err
    assert "3/3" in shown
    assert "document" in shown


def test_a_reranker_cannot_be_pickled_with_its_connections(make: Make) -> None:
    with pytest.raises(TypeError, match="pickle what it was made from"):
        pickle.dumps(make())
