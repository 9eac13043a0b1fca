"""The report's plots: matplotlib draws them, as SVG that takes the page's colours, once for a desk and a phone each."""

from __future__ import annotations

import io
import re
import warnings
from html import escape
from typing import TYPE_CHECKING, Any

from qwen_embed_integrations.benchmark.metrics import MAIN_METRIC
from qwen_embed_integrations.extras import require

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qwen_embed_integrations.benchmark.results import SystemResult

STAGES = ("embed", "search", "rerank")
# matplotlib wants colours as numbers: these stand for the page's own.
_INK, _ACCENT, *_STAGE_COLOURS = "#010101", "#010102", "#010103", "#010104", "#010105"
_PAGE_COLOURS = {_INK: "currentColor", _ACCENT: "var(--accent)"} | {
    colour: f"var(--{stage})" for stage, colour in zip(STAGES, _STAGE_COLOURS, strict=True)
}
# A system's own, readable on black and on white (after Okabe and Ito); no pair comes twice in 72.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a8a", "#a6761d")
_SHAPES = "osD^vPX*p"
_STYLE = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color"), _INK) | {
    "axes.formatter.useoffset": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.bottom": False,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.sans-serif": ["DejaVu Sans"],  # for measuring; it comes with matplotlib, and the page shows its own
    "font.size": 13,
    "grid.alpha": 0.2,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "text.parse_math": False,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}
# Longer names are cut in plots; their numbers say which they are.
_NAME = 42
# One SVG unit is a point to matplotlib, and about a pixel on the page.
_POINTS_AN_INCH = 72


def interval_chart(systems: Sequence[SystemResult]) -> str:
    """Draw the main metric of each system with its interval.

    Args:
        systems: Finished systems, at least one.

    Returns:
        Two `<svg>` elements, of class `wide` and `narrow`.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    values, rows = [system.metrics[MAIN_METRIC] for system in systems], range(len(systems))

    def draw(axes: Any, *, narrow: bool) -> None:
        _write_rows(axes, systems, [f"{value.mean:.3f}" for value in values], narrow=narrow)
        axes.hlines(rows, [value.low for value in values], [value.high for value in values], _ACCENT, lw=4, alpha=0.5)
        axes.plot([value.mean for value in values], rows, "o", color=_ACCENT, ms=11)
        axes.set_xlabel(MAIN_METRIC)

    return _draw(f"{MAIN_METRIC} of each system with its 95% interval", draw, 60 + 34 * len(rows), 60 + 48 * len(rows))


def scatter_chart(systems: Sequence[SystemResult]) -> str:
    """Draw quality against the median time of a query, on a logarithmic time axis.

    Args:
        systems: Finished systems, at least one.

    Returns:
        Two `<svg>` elements, of class `wide` and `narrow`.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    ticker = require("matplotlib.ticker", extra="benchmark")
    times = [max(system.latency["total"].p50, 1e-3) for system in systems]

    def draw(axes: Any, *, narrow: bool) -> None:
        for index, (system, time) in enumerate(zip(systems, times, strict=True)):
            value, colour = system.metrics[MAIN_METRIC], _COLOURS[index % len(_COLOURS)]
            axes.vlines(time, value.low, value.high, colour, lw=3, alpha=0.4)
            outline = {"color": colour, "mfc": "none", "mew": 2, "ms": 10}  # what lies below is seen too
            axes.plot(time, value.mean, _SHAPES[index % len(_SHAPES)], label=_name(index, system), **outline)
        axes.set(xscale="log", xlim=(min(times) / 2, max(times) * 2), ylabel=MAIN_METRIC)
        axes.set_xlabel("median milliseconds for one query")
        few = max(times) < 10 * min(times)
        axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if few else (1,)))
        axes.xaxis.set_major_formatter("{x:,g}")
        axes.minorticks_off()
        axes.figure.legend(loc="outside lower left", ncols=1 if narrow else 2)

    count = len(systems)
    return _draw(f"{MAIN_METRIC} against the time of a query", draw, 330 + 11 * count, 300 + 22 * count)


def latency_chart(systems: Sequence[SystemResult], *, write: Callable[[float], str]) -> str:
    """Draw the median time of each stage of a query, and what 95 of 100 queries stay below.

    Args:
        systems: Finished systems, at least one.
        write: Writes a number of milliseconds.

    Returns:
        Two `<svg>` elements, of class `wide` and `narrow`.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    totals, rows = [system.latency["total"] for system in systems], range(len(systems))

    def draw(axes: Any, *, narrow: bool) -> None:
        _write_rows(axes, systems, [f"{write(total.p50)} ms" for total in totals], narrow=narrow)
        starts = [0.0 for _ in rows]
        for stage, colour in zip(STAGES, _STAGE_COLOURS, strict=True):
            widths = [system.latency[stage].p50 if stage in system.latency else 0.0 for system in systems]
            if any(widths):
                axes.barh(rows, widths, 0.5, starts, color=colour, label=stage)
            starts = [start + width for start, width in zip(starts, widths, strict=True)]
        slow, mark = [total.p95 for total in totals], {"ecolor": _INK, "elinewidth": 2}
        axes.errorbar(slow, rows, yerr=0.28, fmt="none", label="95 of 100 end before", **mark)
        axes.set_xlim(left=0)
        axes.set_xlabel("milliseconds for one query")
        axes.figure.legend(loc="outside upper left", ncols=2 if narrow else 4)

    return _draw("Median time of each stage of a query", draw, 100 + 34 * len(rows), 120 + 48 * len(rows))


def _name(index: int, system: SystemResult) -> str:
    name = system.name if len(system.name) <= _NAME else f"{system.name[: _NAME - 1]}…"
    return f"{index + 1}  {name}"


def _write_rows(axes: Any, systems: Sequence[SystemResult], values: Sequence[str], *, narrow: bool) -> None:
    """Give each system a line of its own: names on the left and values on the right, or above it on a phone."""
    axes.set_ylim(len(systems) - 0.5, -0.8 if narrow else -0.5)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=5 if narrow else 9)
    frame = axes.get_yaxis_transform()
    for index, (system, value) in enumerate(zip(systems, values, strict=True)):
        left, right, y = (0.0, 1.0, index - 0.45) if narrow else (-0.02, 1.02, index)
        axes.text(left, y, _name(index, system), transform=frame, ha="left" if narrow else "right", va="center")
        axes.text(right, y, value, transform=frame, ha="right" if narrow else "left", va="center")


def _draw(label: str, draw: Callable[..., None], wide: int, narrow: int) -> str:
    return _svg(label, draw, "wide", (840, wide)) + _svg(label, draw, "narrow", (400, narrow))


def _svg(label: str, draw: Callable[..., None], name: str, size: tuple[int, int]) -> str:
    figure_module = require("matplotlib.figure", extra="benchmark")
    style = require("matplotlib.style", extra="benchmark")
    buffer = io.StringIO()
    # The salt gives equal plots equal ids, and two plots of a page different ones.
    with style.context(["default", _STYLE, {"svg.hashsalt": f"{label} {name}"}]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's browser has it
        figure = figure_module.Figure([side / _POINTS_AN_INCH for side in size], layout="constrained")
        draw(figure.subplots(), narrow=name == "narrow")
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    drawn = re.sub(r'<g id="[^"]*"', "<g", buffer.getvalue())
    drawn = re.sub("|".join(_PAGE_COLOURS), lambda match: _PAGE_COLOURS[match[0]], drawn)
    start = f'<svg class="{name}" viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label="{escape(label)}">'
    return re.sub(r"(?s).*?<svg[^>]*>", start, drawn, count=1).replace("xlink:href", "href")
