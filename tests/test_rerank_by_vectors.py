"""An embedding model reranks by cosine, when asked to and never by mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tiny
from loopback import sglang_embedding, to_embeddings
from qwen_embed_integrations import Embedder, ModelProfile, RankedDocument, Reranker, RerankProfile
from qwen_embed_integrations.errors import (
    InvalidInputError,
    LongTextWarning,
    RequestRefusedError,
    ServerError,
    TextTooLongError,
    WrongServerError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import loopback

    Make = Callable[..., Embedder]

QUERY = "who sleeps?"
DOCUMENTS = ["dogs bark", "cats sleep at night", "cats sleep", "the stock market fell"]
PLAIN = ModelProfile(name="tiny", dimensions=tiny.SIZE, min_dimensions=2)


@pytest.fixture
def make(server: loopback.Server) -> Iterator[Make]:
    server.reply(to_embeddings(tiny.answer))
    made: list[Embedder] = []

    def one(**settings: Any) -> Embedder:
        given = {"base_url": server.base_url, "profile": tiny.PROFILE, "max_retries": 0, **settings}
        made.append(Embedder.served("tiny", **given))
        return made[-1]

    yield one
    for embedder in made:
        embedder.close()


def cosines(embedder: Embedder, documents: list[str] = DOCUMENTS, instruction: str | None = None) -> np.ndarray:
    """Return what the embedder's own vectors say."""
    scores: np.ndarray = (
        embedder.embed_documents(documents) @ embedder.embed_queries([QUERY], instruction=instruction)[0]
    )
    return scores


def test_scores_are_the_cosines_of_query_and_documents(make: Make) -> None:
    embedder = make()
    wanted = cosines(embedder)
    ranked = Reranker.over(embedder).rerank(QUERY, DOCUMENTS)
    assert [document.index for document in ranked] == np.argsort(-wanted).tolist()
    np.testing.assert_allclose([document.score for document in ranked], np.sort(wanted)[::-1], atol=1e-6)
    assert isinstance(ranked[0], RankedDocument)


async def test_scores_are_the_same_in_an_event_loop(make: Make) -> None:
    async with make() as embedder, Reranker.over(embedder) as reranker:
        assert await reranker.arerank(QUERY, DOCUMENTS, top_n=2) == reranker.rerank(QUERY, DOCUMENTS)[:2]
        assert await reranker.arerank(QUERY, []) == []


def test_fewer_dimensions_are_used_where_the_embedder_has_fewer(make: Make) -> None:
    few = make(dimensions=2)
    assert few.embed_documents(["x"]).shape == (1, 2)
    ranked = Reranker.over(few).rerank(QUERY, DOCUMENTS)
    np.testing.assert_allclose([document.score for document in ranked], np.sort(cosines(few))[::-1], atol=1e-6)


def test_the_query_gets_its_prompt_and_documents_get_theirs(server: loopback.Server, make: Make) -> None:
    Reranker.over(make()).rerank(QUERY, DOCUMENTS)
    assert server.texts() == [f"Instruct: find it\nQuery:{QUERY}", *DOCUMENTS]


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ((None, None, None), "find it"),
        (("find a", None, None), "find a"),
        (("find a", "find b", None), "find b"),
        (("find a", "find b", "find c"), "find c"),
    ],
)
def test_the_nearest_instruction_wins(
    server: loopback.Server, make: Make, given: tuple[str | None, ...], used: str
) -> None:
    embedders, rerankers, calls = given
    Reranker.over(make(instruction=embedders), instruction=rerankers).rerank(QUERY, DOCUMENTS, instruction=calls)
    assert server.texts()[0] == f"Instruct: {used}\nQuery:{QUERY}"


def test_an_instruction_is_refused_where_the_model_takes_none(server: loopback.Server, make: Make) -> None:
    embedder = make(profile=PLAIN)
    with pytest.raises(InvalidInputError, match="takes none"):
        Reranker.over(embedder, instruction="find it")
    with pytest.raises(InvalidInputError, match="takes none"):
        Reranker.over(embedder).rerank(QUERY, DOCUMENTS, instruction="find it")
    assert server.texts() == []


def test_no_documents_are_no_request(server: loopback.Server, make: Make) -> None:
    assert Reranker.over(make()).rerank(QUERY, []) == []
    assert server.requests == []


def test_a_document_that_equals_the_query_scores_one_at_most(make: Make) -> None:
    texts = [f"text {position}" for position in range(40)]
    reranker = Reranker.over(make(profile=PLAIN))
    best = [reranker.rerank(text, [text])[0].score for text in texts]
    assert best == pytest.approx([1] * 40, abs=1e-6)
    assert max(best) <= 1


def test_the_embedder_outlives_the_reranker(make: Make) -> None:
    embedder = make()
    with Reranker.over(embedder) as reranker:
        first = reranker.rerank(QUERY, DOCUMENTS)
        assert reranker.usage == embedder.usage
    assert Reranker.over(embedder).rerank(QUERY, DOCUMENTS) == first


# --- failures ----------------------------------------------------------------------------------------------------


def test_a_document_that_fails_is_named_and_the_others_have_scores(server: loopback.Server, make: Make) -> None:
    refuse = tiny.refusing(lambda text: "stock" in text)
    server.reply(to_embeddings(lambda texts: refuse(texts) or tiny.answer(texts)))
    with pytest.raises(RequestRefusedError) as caught:
        Reranker.over(make()).rerank(QUERY, DOCUMENTS)
    assert caught.value.positions == (3,)
    assert caught.value.completed is not None
    assert np.isnan(caught.value.completed).tolist() == [False, False, False, True]


def reading_little(texts: list[str]) -> loopback.Answer | None:
    refuse = tiny.refusing(
        lambda text: len(text) > 60, "This model's maximum context length is 12 tokens, you requested more"
    )
    return refuse(texts) or tiny.answer(texts)


def test_a_document_too_long_is_called_a_document(server: loopback.Server, make: Make) -> None:
    server.reply(to_embeddings(reading_little))
    long = [*DOCUMENTS, "x " * 50]
    with pytest.raises(TextTooLongError, match="`documents` holds a text at position 4") as caught:
        Reranker.over(make(long_text="error")).rerank(QUERY, long)
    assert (caught.value.parameter, caught.value.positions) == ("documents", (4,))
    with pytest.warns(LongTextWarning, match="1 of 5 `documents`") as warned:
        Reranker.over(make()).rerank(QUERY, long)
    assert [warning.filename for warning in warned] == [__file__]


async def test_a_query_too_long_is_called_a_query(server: loopback.Server, make: Make) -> None:
    server.reply(to_embeddings(reading_little))
    async with make(long_text="error") as strict:
        for reranking in (Reranker.over(strict).rerank, Reranker.over(strict).arerank):
            with pytest.raises(TextTooLongError, match="`query` holds a text") as caught:
                await settled(reranking("x " * 50, DOCUMENTS))
            assert (caught.value.parameter, caught.value.positions) == ("query", ())
    async with make() as lax:
        for reranking in (Reranker.over(lax).rerank, Reranker.over(lax).arerank):
            with pytest.warns(LongTextWarning, match="1 of 1 `query`") as warned:
                await settled(reranking("x " * 50, DOCUMENTS))
            assert [warning.filename for warning in warned] == [__file__]


async def settled(answer: Any) -> Any:
    return await answer if hasattr(answer, "__await__") else answer


def test_a_blank_document_is_refused_before_the_query_is_sent(server: loopback.Server, make: Make) -> None:
    with pytest.raises(InvalidInputError, match="`documents` holds blank text at position 1"):
        Reranker.over(make()).rerank(QUERY, ["a", " "])
    assert server.requests == []


def test_a_server_that_fails_is_reported_without_positions_of_the_query(server: loopback.Server, make: Make) -> None:
    server.reply(lambda _: (401, {"error": "no"}, {}))
    with pytest.raises(ServerError) as caught:
        Reranker.over(make()).rerank(QUERY, DOCUMENTS)
    assert caught.value.positions == ()


# --- never by mistake --------------------------------------------------------------------------------------------


def test_what_is_no_embedder_is_refused(make: Make) -> None:
    for wrong in ("Qwen/Qwen3-Embedding-0.6B", Reranker.over(make()), None):
        with pytest.raises(InvalidInputError, match=r"`embedder` is .*Embedder\.local"):
            Reranker.over(wrong)  # type: ignore[arg-type]


def test_a_server_of_an_embedding_model_is_refused_with_the_way_to_use_it(server: loopback.Server) -> None:
    server.reply(sglang_embedding)
    with (
        Reranker.served("some-reranker", base_url=server.base_url, max_retries=0) as wrong,
        pytest.raises(WrongServerError, match=r"embedding model.*Reranker\.over\(Embedder\.served"),
    ):
        wrong.rerank(QUERY, DOCUMENTS)


def test_an_embedding_models_name_is_refused_with_the_way_to_use_it(server: loopback.Server) -> None:
    with pytest.raises(WrongServerError, match=r"Reranker\.over\(Embedder\.served"):
        Reranker.served("Qwen/Qwen3-Embedding-0.6B", base_url=server.base_url)


@pytest.mark.parametrize("profile", [PLAIN, RerankProfile(name="x", method="cosine")])
def test_an_embedding_models_profile_is_refused_with_the_way_to_use_it(profile: Any) -> None:
    pytest.importorskip("torch")
    with pytest.raises(InvalidInputError, match=r"`profile`.*Reranker\.over"):
        Reranker.local("some-reranker", profile=profile)
    with pytest.raises(InvalidInputError, match=r"`profile`.*Reranker\.over"):
        Reranker.served("some-reranker", base_url="http://localhost:1", profile=profile)
