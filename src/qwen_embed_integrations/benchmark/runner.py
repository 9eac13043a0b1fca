"""Run systems over a dataset, one after the other, and keep what is done on disk."""

from __future__ import annotations

import logging
import tempfile
import warnings
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qwen_embed_integrations import interrupts
from qwen_embed_integrations.benchmark import environment
from qwen_embed_integrations.benchmark.index import IndexSettings
from qwen_embed_integrations.benchmark.measure import Measured, Sample, measure
from qwen_embed_integrations.benchmark.progress import Progress, Silent
from qwen_embed_integrations.benchmark.report import render
from qwen_embed_integrations.benchmark.results import Comparison, Example, Results, SystemResult, write_whole
from qwen_embed_integrations.benchmark.shared_parts import SharedParts
from qwen_embed_integrations.benchmark.significance import RESAMPLES, holm, interval, paired_test
from qwen_embed_integrations.benchmark.systems import FusionSystem, RerankedSystem
from qwen_embed_integrations.errors import InvalidInputError, QwenEmbedError
from qwen_embed_integrations.extras import require

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qwen_embed_integrations.benchmark.datasets import Dataset
    from qwen_embed_integrations.benchmark.systems import System

RESULTS_FILE = "results.json"
REPORT_FILE = "report.html"
# Deeper than any metric looks.
_MIN_DEPTH = 100
_EXAMPLES = 3
_EXAMPLE_CHARACTERS = 700

_LOG = logging.getLogger(__name__)


def run(
    dataset: Dataset,
    systems: Sequence[System],
    output: Path | str,
    *,
    index: IndexSettings | None = None,
    latency_queries: int = 200,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Results:
    """Measure systems on a dataset.

    After each system `results.json` and `report.html` in the output folder hold all that is done so far. A system
    that fails is recorded with its error, and the others go on.

    Args:
        dataset: What is searched.
        systems: What is compared; the first is what the others are tested against.
        output: Folder for the results; made if missing.
        index: How Chroma indexes.
        latency_queries: How many queries are also sent one by one to measure time, at most.
        seed: Seed of the samples and the statistics.
        settings: More facts for the record, as JSON values.
        progress: Is told what is being done.

    Returns:
        What is in `results.json`.

    Raises:
        InvalidInputError: If an argument cannot be used.
        MissingExtraError: If a package of the `benchmark` extra is not installed.
    """
    _check(systems, latency_queries)
    for module in ("bm25s", "chromadb", "jinja2", "matplotlib", "psutil", "scipy"):  # now, and not after an hour
        require(module, extra="benchmark")
    index = index or IndexSettings()
    progress = progress or Silent()
    folder = _make(Path(output))
    results = _begin(dataset, index, {"seed": seed, "resamples": RESAMPLES, **(settings or {})}, latency_queries)
    _write(results, folder)
    depth = max(
        _MIN_DEPTH, *(system.depth for system in systems if isinstance(system, (FusionSystem, RerankedSystem))), 0
    )
    sample = Sample(_sample_positions(dataset, latency_queries, seed), _sample_positions(dataset, _EXAMPLES, seed + 1))
    system_results: list[SystemResult] = []
    measured: list[Measured] = []
    with (
        tempfile.TemporaryDirectory(prefix=".index-", dir=folder, ignore_cleanup_errors=True) as indexes,
        SharedParts(dataset, Path(indexes), index, depth=depth, progress=progress) as shared,
    ):
        for system in systems:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                outcome = _try(system, dataset, shared, sample, seed=seed, progress=progress)
            notes = tuple(
                dict.fromkeys(str(warned.message) for warned in caught if issubclass(warned.category, UserWarning))
            )
            if isinstance(outcome, Measured):
                compared = _compare(outcome, measured[0], seed) if measured else None
                outcome = replace(outcome, result=replace(outcome.result, comparison=compared, notes=notes))
                measured.append(outcome)
                system_results.append(outcome.result)
            else:
                system_results.append(replace(outcome, notes=notes))
            results = replace(
                results,
                complete=len(system_results) == len(systems),
                hardware=environment.hardware(),  # torch may have been loaded since
                systems=_correct(system_results),
                examples=_examples(dataset, sample, measured),
            )
            _write(results, folder)
            interrupts.check()
    return results


def _check(systems: Sequence[System], latency_queries: int) -> None:
    if not systems:
        raise InvalidInputError("`systems` is empty; name at least one.", parameter="systems")
    names = [system.name for system in systems]
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise InvalidInputError(f"`systems` has more than one named {', '.join(duplicates)}.", parameter="systems")
    if latency_queries < 1:
        raise InvalidInputError(
            f"`latency_queries` is {latency_queries}; time at least 1 query.", parameter="latency_queries"
        )


def _make(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(
            f"`output` {str(folder)!r} cannot be made a folder: {error.strerror}.", parameter="output"
        ) from error
    return folder


def _begin(dataset: Dataset, index: IndexSettings, settings: dict[str, Any], latency_queries: int) -> Results:
    return Results(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        complete=False,
        dataset={
            "name": dataset.name,
            "documents": len(dataset.documents),
            "queries": len(dataset.queries),
            "sha256": dataset.sha256,
            "about": dict(dataset.about),
        },
        settings={
            "chroma": {"space": "cosine", **asdict(index)},
            "latency_queries": min(latency_queries, len(dataset.queries)),
            **settings,
        },
        versions=environment.versions(),
        hardware=environment.hardware(),
        systems=(),
    )


def _write(results: Results, folder: Path) -> None:
    results.write(folder / RESULTS_FILE)
    write_whole(folder / REPORT_FILE, render(results))


def _sample_positions(dataset: Dataset, count: int, seed: int) -> list[int]:
    """Return positions of queries, in random order."""
    return [int(position) for position in np.random.default_rng(seed).permutation(len(dataset.queries))[:count]]


def _try(
    system: System, dataset: Dataset, shared: SharedParts, sample: Sample, **options: Any
) -> Measured | SystemResult:
    try:
        return measure(system, dataset, shared, sample, **options)
    except QwenEmbedError as error:
        message = str(error)
    except Exception as error:  # noqa: BLE001 whatever it is, the other systems go on
        _LOG.exception("%s failed", system.name)
        message = f"{type(error).__name__}: {error}"
    return SystemResult(system.name, system.kind, system.settings(), error=message)


def _compare(measured: Measured, first: Measured, seed: int) -> Comparison:
    differences = measured.values - first.values
    p_value = paired_test(differences, seed=seed)
    return Comparison(first.result.name, interval(differences, seed=seed), p_value, p_value)


def _correct(systems: Sequence[SystemResult]) -> tuple[SystemResult, ...]:
    corrected = iter(holm([system.comparison.p_value for system in systems if system.comparison]))
    return tuple(
        replace(system, comparison=replace(system.comparison, corrected_p_value=next(corrected)))
        if system.comparison
        else system
        for system in systems
    )


def _examples(dataset: Dataset, sample: Sample, measured: Sequence[Measured]) -> tuple[Example, ...]:
    ids = list(dataset.queries)
    examples = []
    for number, position in enumerate(sample.shown):
        judged = dataset.relevance[ids[position]]
        document = max((key for key in judged if key in dataset.documents), key=judged.__getitem__, default=None)
        text = "" if document is None else dataset.documents[document]
        short = text if len(text) <= _EXAMPLE_CHARACTERS else text[:_EXAMPLE_CHARACTERS].rstrip() + " …"
        ranks = {one.result.name: one.ranks[number] for one in measured}
        examples.append(Example(dataset.queries[ids[position]], short, ranks))
    return tuple(examples)
