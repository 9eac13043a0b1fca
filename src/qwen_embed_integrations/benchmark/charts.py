"""Where things stand in the report's plots: numbers in, positions out; the template draws them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from qwen_embed_integrations.benchmark.metrics import MAIN_METRIC

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_embed_integrations.benchmark.results import SystemResult

STAGES = ("embed", "search", "rerank")
# Height of the scatter plot's field, and of a line of text in it, in CSS pixels.
_HEIGHT = 260
_LINE = 18
_RIGHT_HALF = 50
# Decades from which only powers of ten are marked.
_WIDE = 1.8


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, in percent or pixels, and what it says."""

    at: float
    text: str


@dataclass(frozen=True)
class Span:
    """A mean and its interval, in percent of the width."""

    low: float
    mean: float
    high: float


@dataclass(frozen=True)
class IntervalChart:
    """Means with intervals, one row a system."""

    rows: tuple[Span, ...]
    ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class Point:
    """A system in the scatter plot: x in percent, the rest in pixels from the top."""

    x: float
    y: float
    low: float
    high: float
    label: float
    on_left: bool


@dataclass(frozen=True)
class ScatterChart:
    """Quality against time."""

    points: tuple[Point, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    height: int = _HEIGHT


@dataclass(frozen=True)
class Segment:
    """One stage of a bar, in percent of the width."""

    stage: str
    start: float
    width: float


@dataclass(frozen=True)
class Bar:
    """The stages of one system's typical query, and where its slow ones end."""

    segments: tuple[Segment, ...]
    slow: float


@dataclass(frozen=True)
class BarChart:
    """Time by stage, one bar a system."""

    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    stages: tuple[str, ...]


def interval_chart(systems: Sequence[SystemResult]) -> IntervalChart:
    """Lay out the main metric of each system.

    Args:
        systems: Finished systems, at least one.

    Returns:
        A row for each, on one axis that need not begin at 0.
    """
    values = [system.metrics[MAIN_METRIC] for system in systems]
    steps = _steps(min(value.low for value in values), max(value.high for value in values))
    low, high = steps[0], steps[-1]

    def place(value: float) -> float:
        return _percent(value, low, high)

    return IntervalChart(
        rows=tuple(Span(place(value.low), place(value.mean), place(value.high)) for value in values),
        ticks=tuple(Tick(place(step), _number(step, steps)) for step in steps),
    )


def scatter_chart(systems: Sequence[SystemResult]) -> ScatterChart:
    """Lay out quality against the median time of a query, on a logarithmic time axis.

    Args:
        systems: Finished systems, at least one.

    Returns:
        A point for each, with labels that do not run into each other.
    """
    values = [system.metrics[MAIN_METRIC] for system in systems]
    times = [math.log10(max(system.latency["total"].p50, 1e-3)) for system in systems]
    y_steps = _steps(min(value.low for value in values), max(value.high for value in values))
    left, right = _around(min(times), max(times))

    def height(value: float) -> float:
        return _HEIGHT * (1 - _percent(value, y_steps[0], y_steps[-1]) / 100)

    labels = _spread([height(value.mean) for value in values])
    points = [
        Point(x, height(value.mean), height(value.low), height(value.high), label, x > _RIGHT_HALF)
        for x, value, label in zip([_percent(time, left, right) for time in times], values, labels, strict=True)
    ]
    return ScatterChart(
        points=tuple(points),
        x_ticks=tuple(Tick(_percent(math.log10(mark), left, right), f"{mark:,g}") for mark in _marks(left, right)),
        y_ticks=tuple(Tick(height(step), _number(step, y_steps)) for step in y_steps),
    )


def latency_chart(systems: Sequence[SystemResult]) -> BarChart:
    """Lay out the median time of each stage of a query.

    Args:
        systems: Finished systems, at least one.

    Returns:
        A bar for each, on one axis from 0.
    """
    steps = _steps(0, max(system.latency["total"].p95 for system in systems))
    bars = []
    for system in systems:
        start, segments = 0.0, []
        for stage in STAGES:
            width = system.latency[stage].p50 / steps[-1] * 100 if stage in system.latency else 0.0
            if width:
                segments.append(Segment(stage, start, width))
            start += width
        bars.append(Bar(tuple(segments), system.latency["total"].p95 / steps[-1] * 100))
    return BarChart(
        bars=tuple(bars),
        ticks=tuple(Tick(step / steps[-1] * 100, _number(step, steps)) for step in steps),
        stages=tuple(stage for stage in STAGES if any(stage in system.latency for system in systems)),
    )


def _steps(low: float, high: float, wanted: int = 5) -> list[float]:
    """Return round numbers at equal distance, from below `low` to above `high`."""
    span = max(high - low, 1e-3)
    rough = span / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [at * step for at in range(first, max(last, first + 1) + 1)]


def _marks(left: float, right: float) -> list[float]:
    """Return round numbers between two powers of ten, few enough for a phone."""
    digits = (1, 2, 5) if right - left < _WIDE else (1,)
    marks = [digit * 10.0**power for power in range(-3, 7) for digit in digits]
    return [mark for mark in marks if left <= math.log10(mark) <= right]


def _around(low: float, high: float) -> tuple[float, float]:
    room = max(0.15, (high - low) * 0.12)
    return low - room, high + room


def _percent(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) * 100


def _number(value: float, steps: Sequence[float]) -> str:
    digits = max(0, -math.floor(math.log10(steps[1] - steps[0]) + 1e-9))
    return f"{value:,.{digits}f}"


def _spread(heights: Sequence[float]) -> list[float]:
    """Push labels apart that would stand in one line."""
    placed = list(heights)
    order = sorted(range(len(heights)), key=heights.__getitem__)
    for above, below in pairwise(order):
        placed[below] = max(placed[below], placed[above] + _LINE)
    # Those pushed below the field move up again, and what is in their way with them.
    limit = float(_HEIGHT)
    for at in reversed(order):
        placed[at] = min(placed[at], limit)
        limit = placed[at] - _LINE
    return placed
