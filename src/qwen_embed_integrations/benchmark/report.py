"""report.html: one file for people, that asks the network for nothing."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from qwen_embed_integrations.benchmark.charts import STAGES, interval_chart, latency_chart, scatter_chart
from qwen_embed_integrations.benchmark.metrics import MAIN_METRIC, METRICS
from qwen_embed_integrations.benchmark.verdict import p_text, verdict
from qwen_embed_integrations.extras import require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qwen_embed_integrations.benchmark.results import Results

_TEMPLATE = "report.html.jinja"


def render(results: Results) -> str:
    """Write the report of a run, finished or not.

    Args:
        results: The run.

    Returns:
        A whole HTML document. All text of the run in it is escaped.

    Raises:
        MissingExtraError: If jinja2 or matplotlib is not installed.
    """
    systems = results.finished
    page: str = _template().render(
        results=results,
        systems=systems,
        verdict=verdict(results),
        metrics=list(METRICS),
        main_metric=MAIN_METRIC,
        stages=[stage for stage in STAGES if any(stage in system.latency for system in systems)],
        intervals=interval_chart(systems) if systems else "",
        scatter=scatter_chart(systems) if systems else "",
        latency=latency_chart(systems, write=milliseconds) if systems else "",
    )
    return page


@cache
def _template() -> Any:
    jinja2 = require("jinja2", extra="benchmark")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(ms=milliseconds, rate=rate, signed=signed, p=p_text, plain=plain)
    source = resources.files("qwen_embed_integrations.benchmark").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(source)


def milliseconds(value: float) -> str:
    """Write a time with as many digits as mean something: `0.42`, `8.1`, `135`."""
    digits = 2 if value < 1 else 1 if value < 100 else 0  # noqa: PLR2004 three digits in each case
    return f"{value:,.{digits}f}"


def rate(value: float | None) -> str:
    """Write a number of documents a second, or a dash where there is none."""
    return "–" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.1f}"  # noqa: PLR2004, RUF001 an en dash


def signed(value: float) -> str:
    """Write a difference with its sign."""
    return f"{round(value, 3) + 0.0:+.3f}".replace("-", "−")  # noqa: RUF001 a minus sign


def plain(value: Any) -> str:
    """Write a setting for people.

    Args:
        value: A JSON value.

    Returns:
        Text without brackets, quotes or None.
    """
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(plain, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {plain(setting)}" for name, setting in _items(value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def _items(value: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return list(value.items())
