"""Embeddings of real servers equal transformers', whatever the way there."""

from __future__ import annotations

import random
from bisect import bisect
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from qwen_embed_integrations import Embedder
from qwen_embed_integrations.errors import InvalidInputError, LongTextWarning, TextTooLongError, WrongServerError
from recipes import count_tokens, last_token_vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from qwen_embed_integrations import ModelProfile

    Make = Callable[..., Embedder]

SAME = 1e-5
TEMPLATE = "Instruct: {}\nQuery:{}"
LONG = " ".join(f"search engine {number}" for number in range(400))


@pytest.fixture
def embedder(embedding_url: str, tiny_embedder: Path, tiny_profile: ModelProfile) -> Iterator[Make]:
    """Make embedders of the server's model."""
    made: list[Embedder] = []

    def make(base_url: str = embedding_url, **settings: object) -> Embedder:
        made.append(Embedder.served(str(tiny_embedder), base_url=base_url, profile=tiny_profile, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_documents_equal_transformers(embedder: Make, tiny_embedder: Path, texts: list[str]) -> None:
    np.testing.assert_allclose(embedder().embed_documents(texts), last_token_vectors(tiny_embedder, texts), atol=SAME)


def test_queries_equal_transformers_under_the_default_instruction(
    embedder: Make, tiny_embedder: Path, texts: list[str]
) -> None:
    default = "Given a web search query, retrieve relevant passages that answer the query"
    wanted = last_token_vectors(tiny_embedder, [TEMPLATE.format(default, text) for text in texts])
    np.testing.assert_allclose(embedder().embed_queries(texts), wanted, atol=SAME)


def test_another_instruction_gives_another_query_vector(embedder: Make, tiny_embedder: Path) -> None:
    ours = embedder()
    wanted = last_token_vectors(tiny_embedder, [TEMPLATE.format("Find code", "search engine")])
    found = ours.embed_queries(["search engine"], instruction="Find code")
    np.testing.assert_allclose(found, wanted, atol=SAME)
    assert np.abs(found - ours.embed_queries(["search engine"])).max() > 0.01


async def test_async_equals_transformers(embedder: Make, tiny_embedder: Path, texts: list[str]) -> None:
    ours = embedder(batch_size=7)
    wanted = last_token_vectors(tiny_embedder, texts)
    np.testing.assert_allclose(await ours.aembed_documents(texts), wanted, atol=SAME)
    await ours.aclose()


def test_base64_and_float_carry_the_same_vectors(embedder: Make, texts: list[str]) -> None:
    as_base64 = embedder(encoding_format="base64").embed_documents(texts)
    as_floats = embedder(encoding_format="float").embed_documents(texts)
    np.testing.assert_allclose(as_base64, as_floats, atol=1e-6)


def test_dimensions_are_the_first_of_the_full_vector_at_length_one(
    embedder: Make, tiny_embedder: Path, texts: list[str]
) -> None:
    first = last_token_vectors(tiny_embedder, texts)[:, :32]
    wanted = first / np.linalg.norm(first, axis=1, keepdims=True)
    np.testing.assert_allclose(embedder(dimensions=32).embed_documents(texts), wanted, atol=SAME)


def test_a_server_asked_to_cut_gives_what_is_cut_here(
    embedder: Make, embedding_url: str, tiny_embedder: Path, tiny_profile: ModelProfile, texts: list[str]
) -> None:
    sends = replace(tiny_profile, sends_dimensions=True)
    settings = {"base_url": embedding_url, "dimensions": 32, "batch_size": 200}
    with Embedder.served(str(tiny_embedder), profile=sends, **settings) as asking:
        found = asking.embed_documents(texts)
    np.testing.assert_allclose(found, embedder(dimensions=32).embed_documents(texts), atol=SAME)


def test_1000_texts_at_once_come_back_each_at_its_place(embedder: Make, tiny_embedder: Path, texts: list[str]) -> None:
    drawn = random.Random(3).choices(range(len(texts)), k=1000)
    wanted = last_token_vectors(tiny_embedder, texts)[drawn]
    assert np.abs(wanted[1:] - wanted[:-1]).max(axis=1).mean() > 0.01  # neighbours differ, so that order shows
    found = embedder().embed_documents([texts[at] for at in drawn])
    np.testing.assert_allclose(found, wanted, atol=SAME)


def test_tokens_are_counted_as_the_server_counts_them(embedder: Make, tiny_embedder: Path, texts: list[str]) -> None:
    ours = embedder(batch_size=16)
    ours.embed_documents(texts)
    assert ours.usage.tokens == count_tokens(tiny_embedder, texts)
    assert ours.usage.requests == -(-len(texts) // 16)


def test_a_long_text_is_cut_near_what_fits_with_its_end_token_kept(embedder: Make, tiny_embedder: Path) -> None:
    with pytest.warns(LongTextWarning, match=r"1 of 3 `texts` .* position 1"):
        found = embedder().embed_documents(["hello", LONG, "quick fox"])
    np.testing.assert_allclose(found[[0, 2]], last_token_vectors(tiny_embedder, ["hello", "quick fox"]), atol=SAME)
    fits = bisect(range(len(LONG)), 512, key=lambda length: count_tokens(tiny_embedder, [LONG[:length]])) - 1
    cuts = [LONG[:length] for length in range(fits * 7 // 8, fits + 1)]
    assert np.abs(last_token_vectors(tiny_embedder, cuts) - found[1]).max(axis=1).min() < SAME


def test_a_long_text_can_be_an_error_that_names_it(embedder: Make) -> None:
    with pytest.raises(TextTooLongError, match="at position 1") as caught:
        embedder(long_text="error").embed_documents(["hello", LONG])
    assert caught.value.positions == (1,)
    assert caught.value.completed is not None
    assert np.isfinite(caught.value.completed[0]).all()


def test_blank_texts_are_refused_before_anything_is_sent(embedder: Make) -> None:
    ours = embedder()
    with pytest.raises(InvalidInputError) as caught:
        ours.embed_documents(["hello", " \n", ""])
    assert caught.value.positions == (1, 2)
    assert ours.usage.requests == 0


def test_a_reranker_asked_to_embed_is_the_wrong_server(
    rerank_url: str, reranker_name: str, tiny_profile: ModelProfile
) -> None:
    with (
        Embedder.served(reranker_name, base_url=rerank_url, profile=tiny_profile) as ours,
        pytest.raises(WrongServerError, match="embedding server"),
    ):
        ours.embed_documents(["hello"])
