"""What a run shows on a terminal: progress while it runs, tables when it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qwen_embed_integrations.benchmark.charts import STAGES
from qwen_embed_integrations.benchmark.metrics import MAIN_METRIC, METRICS
from qwen_embed_integrations.benchmark.report import milliseconds, rate
from qwen_embed_integrations.benchmark.verdict import p_text, verdict
from qwen_embed_integrations.extras import require

if TYPE_CHECKING:
    from typing_extensions import Self

    from qwen_embed_integrations.benchmark.results import Results


class ConsoleProgress:
    """Shows the stage a run is in, on a terminal; says nothing elsewhere. A context manager."""

    def __init__(self, console: Any) -> None:
        """Show nothing yet.

        Args:
            console: A rich console.
        """
        shown = require("rich.progress", extra="benchmark")
        self._console = console
        self._columns = (
            shown.SpinnerColumn(),
            shown.TextColumn("{task.description}", markup=False),
            shown.MofNCompleteColumn(),
            shown.TimeElapsedColumn(),
        )
        self._make = shown.Progress
        self._live: Any = None
        self._task: Any = None

    def stage(self, text: str, *, total: int | None = None, timed: bool = False) -> None:
        """Start a stage; while one is timed nothing moves on the screen."""
        if not self._console.is_terminal:
            return
        self._stop()
        if timed:
            self._console.print(text, style="dim", markup=False, highlight=False)
            return
        columns = [column for column in self._columns if total or column is not self._columns[2]]
        self._live = self._make(*columns, console=self._console, transient=True)
        self._task = self._live.add_task(text, total=total)
        self._live.start()

    def advance(self) -> None:
        """Finish one step of the stage."""
        if self._live is not None:
            self._live.advance(self._task)

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()


def print_results(console: Any, results: Results) -> None:
    """Print the tables and the verdict.

    Args:
        console: A rich console; its width may be as low as 60.
        results: The run.
    """
    dataset = results.dataset
    console.print(
        f"{dataset['name']}: {dataset['queries']:,} queries, {dataset['documents']:,} documents",
        markup=False,
        highlight=False,
    )
    if results.finished:
        console.print(_quality(results))
        console.print(_cost(results))
    for system in results.failed:
        console.print(f"{system.name} failed: {system.error}", style="red", markup=False, highlight=False)
    for note in dict.fromkeys(note for system in results.systems for note in system.notes):
        console.print(f"Warning: {note}", style="yellow", markup=False, highlight=False)
    console.print(verdict(results), style="bold", markup=False, highlight=False)


def _quality(results: Results) -> Any:
    table = _table("Quality over all queries; p: difference to the first, Holm-corrected", "System")
    for name in (MAIN_METRIC, "95%", *(metric for metric in METRICS if metric != MAIN_METRIC), "p"):
        table.add_column(name, justify="right", no_wrap=True)
    for system in results.finished:
        main = system.metrics[MAIN_METRIC]
        table.add_row(
            _text(system.name),
            f"{main.mean:.3f}",
            f"{main.low:.3f}–{main.high:.3f}",  # noqa: RUF001 an en dash between the ends
            *(f"{system.metrics[metric].mean:.3f}" for metric in METRICS if metric != MAIN_METRIC),
            p_text(system.comparison).replace("p < 0", "<").replace("p = 0", "").replace("p = ", "")
            if system.comparison
            else "",
        )
    return table


def _cost(results: Results) -> Any:
    table = _table("Milliseconds a query; documents a second; found: of the exact top 10 by Chroma", "System")
    stages = [stage for stage in STAGES if any(stage in system.latency for system in results.finished)]
    for name in ("p50", "p95", *stages, "embed/s", "store/s", "found"):
        table.add_column(name, justify="right", no_wrap=True)
    for system in results.finished:
        latency, cost, check = system.latency, system.indexing, system.index_check
        table.add_row(
            _text(system.name),
            milliseconds(latency["total"].p50),
            milliseconds(latency["total"].p95),
            *(milliseconds(latency[stage].p50) if stage in latency else "" for stage in stages),
            rate(cost.embed_documents_per_second) if cost and cost.embed_documents_per_second else "",
            rate(cost.store_documents_per_second) if cost else "",
            f"{check.recall_at_10:.3f}" if check else "",
        )
    return table


def _table(title: str, first: str) -> Any:
    rich_table = require("rich.table", extra="benchmark")
    box = require("rich.box", extra="benchmark")
    table = rich_table.Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold", min_width=18)
    return table


def _text(text: str) -> Any:
    return require("rich.text", extra="benchmark").Text(text)  # a name may hold brackets
