"""The one sentence a reader takes home."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_embed_integrations.benchmark.metrics import MAIN_METRIC

if TYPE_CHECKING:
    from qwen_embed_integrations.benchmark.results import Comparison, Results, SystemResult

SURE = 0.05


def verdict(results: Results) -> str:
    """Say which system is better, and how sure that is.

    Args:
        results: A run.

    Returns:
        One sentence about the best system and the first, or about the first and the next best where the first is
        best.
    """
    systems = results.finished
    if not systems:
        return "No system finished." if results.failed else "No system has finished yet."
    first, *others = systems
    if not others:
        value = first.metrics[MAIN_METRIC]
        return (
            f"{first.name} reaches {MAIN_METRIC} {value.mean:.3f} (95% interval {value.low:.3f} to {value.high:.3f}); "
            "there is nothing to compare it with."
        )
    best = max(others, key=lambda system: system.metrics[MAIN_METRIC].mean)
    return _compare(first, best)


def _compare(first: SystemResult, other: SystemResult) -> str:
    comparison = other.comparison
    if comparison is None:
        raise ValueError(f"{other.name} was not compared")
    difference = comparison.difference
    better, worse, sign = (other, first, 1) if difference.mean > 0 else (first, other, -1)
    low, high = sorted((sign * difference.low, sign * difference.high))
    interval = f"95% interval {_number(low)} to {_number(high)}"
    size = f"{_number(sign * difference.mean)} {MAIN_METRIC} ({interval}, {p_text(comparison)})"
    if comparison.corrected_p_value < SURE:
        return f"{better.name} is better than {worse.name} by {size}."
    return f"Between {better.name} and {worse.name} there is no difference this test can see: {size}."


def _number(value: float) -> str:
    return f"{round(value, 3) + 0.0:.3f}"  # adding 0 takes the sign off -0.0


def p_text(comparison: Comparison) -> str:
    """Write a corrected p-value.

    Args:
        comparison: Holds it.

    Returns:
        Such as `p = 0.012` or `p < 0.001`.
    """
    value = comparison.corrected_p_value
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"  # noqa: PLR2004 the last digit shown
