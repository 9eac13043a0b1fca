"""Retrieval metrics, as trec_eval computes them, in numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qwen_embed_integrations.benchmark.ranking import ranked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    Float64 = npt.NDArray[np.float64]


def ndcg(grades: Float64, ideal: Float64, depth: int) -> float:
    """Normalised discounted cumulative gain: high where good documents stand near the top.

    Args:
        grades: Grade of each document found, best rank first; 0 for those that are not relevant.
        ideal: Grades of all relevant documents, highest first.
        depth: Ranks that count.

    Returns:
        From 0 to 1. The gain is the grade itself, not a power of two.
    """
    discounts = 1 / np.log2(np.arange(2, depth + 2))
    gained, possible = grades[:depth], ideal[:depth]
    return float(gained @ discounts[: len(gained)] / (possible @ discounts[: len(possible)]))


def recall(grades: Float64, ideal: Float64, depth: int) -> float:
    """Return the share of the relevant documents that are among the first `depth`; see `ndcg`."""
    return float(np.count_nonzero(grades[:depth]) / len(ideal))


def reciprocal_rank(grades: Float64, _ideal: Float64, depth: int) -> float:
    """Return one over the rank of the first relevant document, 0 below `depth`; see `ndcg`."""
    hits = np.flatnonzero(grades[:depth])
    return float(1 / (hits[0] + 1)) if len(hits) else 0.0


METRICS: dict[str, tuple[Callable[[Float64, Float64, int], float], int]] = {
    "nDCG@10": (ndcg, 10),
    "Recall@5": (recall, 5),
    "Recall@10": (recall, 10),
    "MRR@10": (reciprocal_rank, 10),
}
MAIN_METRIC = "nDCG@10"


def evaluate(results: Sequence[Mapping[str, float]], relevance: Sequence[Mapping[str, int]]) -> dict[str, Float64]:
    """Measure every query.

    Args:
        results: Score by document id, one mapping a query. An empty one counts 0 in every metric.
        relevance: Grade by document id, in the same order, each with a relevant document.

    Returns:
        For each metric, the values of the queries, shape `(n,)`.
    """
    values = {name: np.zeros(len(results)) for name in METRICS}
    deepest = max(depth for _, depth in METRICS.values())
    for position, (scores, judged) in enumerate(zip(results, relevance, strict=True)):
        # A grade below 0 marks what is worse than not relevant; it gains nothing.
        grades = np.array([max(judged.get(document, 0), 0) for document in ranked(scores, deepest)], np.float64)
        ideal = np.array(sorted((grade for grade in judged.values() if grade > 0), reverse=True), np.float64)
        for name, (metric, depth) in METRICS.items():
            values[name][position] = metric(grades, ideal, depth)
    return values
