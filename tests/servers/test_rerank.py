"""Scores of real servers equal those of Qwen's own recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from qwen_embed_integrations import Reranker
from qwen_embed_integrations.errors import InvalidInputError, LongTextWarning, WrongServerError
from recipes import official_scores

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from qwen_embed_integrations import RankedDocument

SAME = 1e-4
DEFAULT = "Given a web search query, retrieve relevant passages that answer the query"
QUERY = "which search engine?"


@pytest.fixture
def reranker(rerank_url: str, reranker_name: str) -> Iterator[Reranker]:
    with Reranker.served(reranker_name, base_url=rerank_url, batch_size=16) as ours:
        yield ours


def in_order(ranked: list[RankedDocument]) -> np.ndarray:
    return np.array([each.score for each in sorted(ranked, key=lambda each: each.index)])


@pytest.mark.parametrize("instruction", [None, "Find code that answers", 'Say "yes" to {braces}\nand lines'])
def test_scores_equal_the_official_recipe(
    reranker: Reranker, tiny_reranker: Path, texts: list[str], instruction: str | None
) -> None:
    wanted = official_scores(tiny_reranker, QUERY, texts, DEFAULT if instruction is None else instruction)
    assert np.ptp(wanted) > 0.05  # the documents differ
    found = in_order(reranker.rerank(QUERY, texts, instruction=instruction))
    np.testing.assert_allclose(found, wanted, atol=SAME)


async def test_async_scores_equal_the_official_recipe(
    reranker: Reranker, tiny_reranker: Path, texts: list[str]
) -> None:
    found = in_order(await reranker.arerank(QUERY, texts))
    np.testing.assert_allclose(found, official_scores(tiny_reranker, QUERY, texts, DEFAULT), atol=SAME)
    await reranker.aclose()


def test_top_n_are_the_best_over_all_batches_best_first(
    reranker: Reranker, tiny_reranker: Path, texts: list[str]
) -> None:
    wanted = official_scores(tiny_reranker, QUERY, texts, DEFAULT)
    found = reranker.rerank(QUERY, texts, top_n=5)
    np.testing.assert_allclose([each.score for each in found], np.sort(wanted)[::-1][:5], atol=SAME)
    np.testing.assert_allclose([wanted[each.index] for each in found], [each.score for each in found], atol=SAME)


def test_another_instruction_gives_other_scores(reranker: Reranker, texts: list[str]) -> None:
    default, custom = (in_order(reranker.rerank(QUERY, texts, instruction=each)) for each in (None, "Find a cat"))
    assert np.abs(default - custom).max() > 0.01


def test_a_long_document_is_cut_with_a_warning_and_spoils_no_other(
    reranker: Reranker, tiny_reranker: Path, texts: list[str]
) -> None:
    documents = [*texts[:3], "quick fox " * 2000]
    with pytest.warns(LongTextWarning, match=r"1 of 4 `documents` .* position 3"):
        found = in_order(reranker.rerank(QUERY, documents))
    np.testing.assert_allclose(found[:3], official_scores(tiny_reranker, QUERY, texts[:3], DEFAULT), atol=SAME)
    assert 0 < found[3] < 1


def test_blank_documents_are_refused_before_anything_is_sent(reranker: Reranker) -> None:
    with pytest.raises(InvalidInputError) as caught:
        reranker.rerank(QUERY, ["hello", ""])
    assert caught.value.positions == (1,)
    assert reranker.usage.requests == 0


def test_an_embedding_server_asked_to_rerank_is_the_wrong_server(embedding_url: str, tiny_embedder: Path) -> None:
    with (
        Reranker.served(str(tiny_embedder), base_url=embedding_url) as ours,
        pytest.raises(WrongServerError, match="point `base_url` at a reranker"),
    ):
        ours.rerank(QUERY, ["hello"])
