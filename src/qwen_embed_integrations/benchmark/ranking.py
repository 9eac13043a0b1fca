"""Order by score, in one way everywhere: best first, equal scores by document id, descending, as trec_eval does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

Scores = dict[str, float]
"""Score by document id, for one query."""


def ranked(scores: Mapping[str, float], depth: int | None = None) -> list[str]:
    """Return document ids, best first.

    Args:
        scores: Score by document id.
        depth: How many to return, at most; None returns all.

    Returns:
        Ids by falling score, then by falling id.
    """
    return sorted(scores, key=lambda document: (scores[document], document), reverse=True)[:depth]


def best(ids: Sequence[str], scores: npt.NDArray[np.floating], depth: int) -> Scores:
    """Keep the highest scores.

    Args:
        ids: Document ids.
        scores: Their scores, shape `(len(ids),)`.
        depth: How many to keep, at most.

    Returns:
        The best `depth` documents; where scores tie at the end, those with the higher ids.
    """
    if depth < len(ids):
        lowest = np.partition(scores, len(ids) - depth)[len(ids) - depth]
        indexes = np.flatnonzero(scores >= lowest)
    else:
        indexes = np.arange(len(ids))
    top = {ids[int(index)]: float(scores[index]) for index in indexes}
    return {document: top[document] for document in ranked(top, depth)}


def fuse(results: Sequence[Mapping[str, float]], *, k: int = 60, depth: int | None = None) -> Scores:
    """Merge results by rank: each document gets the sum of `1 / (k + rank)`.

    Args:
        results: Scores by document id, one mapping a system.
        k: Damps the first ranks; 60 is the value of Cormack, Clarke and Buettcher (SIGIR 2009).
        depth: How many documents of each result count, at most; None counts all.

    Returns:
        Fused scores.
    """
    fused: Scores = {}
    for result in results:
        for rank, document in enumerate(ranked(result, depth), start=1):
            fused[document] = fused.get(document, 0.0) + 1 / (k + rank)
    return fused
