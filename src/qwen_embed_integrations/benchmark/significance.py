"""How sure a difference is: bootstrap intervals, a paired randomisation test, Holm's correction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qwen_embed_integrations.extras import require

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Float64 = npt.NDArray[np.float64]

RESAMPLES = 10_000
# Resamples are drawn in batches of about this many numbers, so that memory stays flat.
_BATCH = 1_000_000


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
        The mean and its 95% interval; with one query only, the mean at both ends.

    Raises:
        MissingExtraError: If scipy is not installed.
    """
    mean = float(values.mean())
    if len(values) == 1:
        return Interval(mean, mean, mean)
    estimate = require("scipy.stats", extra="benchmark").bootstrap(
        (values,),
        np.mean,
        method="percentile",
        n_resamples=resamples,
        vectorized=True,
        batch=_batch(values),
        rng=np.random.default_rng(seed),
    )
    return Interval(mean, float(estimate.confidence_interval.low), float(estimate.confidence_interval.high))


def paired_test(differences: Float64, *, seed: int = 0, resamples: int = RESAMPLES) -> float:
    """Test whether a mean difference is more than chance, by flipping the sign of each query's difference.

    Args:
        differences: One difference a query, shape `(n,)`, at least one.
        seed: Seed of the flips.
        resamples: Number of random flips.

    Returns:
        Two-sided p-value, `(hits + 1) / (resamples + 1)`.

    Raises:
        MissingExtraError: If scipy is not installed.
    """
    random = np.random.default_rng(seed)

    def flipped(size: tuple[int, int]) -> Float64:
        return np.asarray(differences * random.choice((-1.0, 1.0), size))

    # Not scipy's permutation_test: for each batch that visits the queries one by one.
    tested = require("scipy.stats", extra="benchmark").monte_carlo_test(
        differences,
        flipped,
        _distance,
        alternative="greater",
        n_resamples=resamples,
        vectorized=True,
        batch=_batch(differences),
    )
    return float(tested.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for having made several comparisons.

    Args:
        p_values: One a comparison.

    Returns:
        Corrected values in the same order, 1 at most.
    """
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def _distance(differences: Float64, axis: int) -> Float64:
    return np.asarray(np.abs(differences.mean(axis=axis)))


def _batch(values: Float64) -> int:
    return max(1, _BATCH // len(values))
