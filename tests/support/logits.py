"""Scores as they were before the sigmoid, where a small difference is not flattened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_embed_integrations import Reranker


def scores_of(reranker: Reranker, query: str, documents: Sequence[str], instruction: str | None = None) -> np.ndarray:
    """Return the scores in the order of the documents."""
    ranked = reranker.rerank(query, documents, instruction=instruction)
    return np.array([each.score for each in sorted(ranked, key=lambda each: each.index)])


def logits_of(reranker: Reranker, query: str, documents: Sequence[str], instruction: str | None = None) -> np.ndarray:
    """Return what the sigmoid was taken of, in the order of the documents.

    Beyond 7 a float32 score is too close to 1 to tell.
    """
    scores = scores_of(reranker, query, documents, instruction)
    logits: np.ndarray = np.log(scores) - np.log1p(-scores)
    assert np.abs(logits).max() < 7
    return logits
