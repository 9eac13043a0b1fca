"""How sure a difference is: bootstrap intervals, a paired randomisation test, Holm's correction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Float64 = npt.NDArray[np.float64]

RESAMPLES = 10_000
# Resamples are drawn in pieces of about this many numbers, so that memory stays flat.
_PIECE = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A mean and where the true one lies in 95 of 100 such experiments.

    Attributes:
        mean: Mean over the queries.
        low: Lower end.
        high: Upper end.
    """

    mean: float
    low: float
    high: float


def interval(values: Float64, *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Estimate a mean by the percentile bootstrap over queries.

    Args:
        values: One value a query, shape `(n,)`, at least one.
        seed: Seed of the resampling.
        resamples: Number of resamples.

    Returns:
        The mean and its 95% interval.
    """
    random = np.random.default_rng(seed)
    count = len(values)
    means = np.concatenate(
        [values[random.integers(0, count, (rows, count))].mean(axis=1) for rows in _pieces(resamples, count)]
    )
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high))


def paired_test(differences: Float64, *, seed: int = 0, resamples: int = RESAMPLES) -> float:
    """Test whether a mean difference is more than chance, by flipping the sign of each query's difference.

    Args:
        differences: One difference a query, shape `(n,)`.
        seed: Seed of the flips.
        resamples: Number of random flips.

    Returns:
        Two-sided p-value, `(hits + 1) / (resamples + 1)`.
    """
    moving = differences[differences != 0]  # the others do not change the sum, whatever their sign
    if not len(moving):
        return 1.0
    random = np.random.default_rng(seed)
    # Sums that are equal on paper differ in the last bits.
    observed = abs(moving.sum()) * (1 - 1e-12)
    hits = 0
    for rows in _pieces(resamples, len(moving)):
        signs = random.integers(0, 2, (rows, len(moving)), dtype=np.int8) * 2.0 - 1.0
        hits += int(np.count_nonzero(np.abs(signs @ moving) >= observed))
    return (hits + 1) / (resamples + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for having made several comparisons.

    Args:
        p_values: One a comparison.

    Returns:
        Corrected values in the same order, 1 at most.
    """
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[at]))
        corrected[at] = highest
    return corrected


def _pieces(total: int, width: int) -> list[int]:
    rows = max(1, _PIECE // max(width, 1))
    return [min(rows, total - start) for start in range(0, total, rows)]
