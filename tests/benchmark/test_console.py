from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from qwen_embed_integrations.benchmark import DenseSystem, FusionSystem, LexicalSystem, RerankedSystem, Results, run
from qwen_embed_integrations.benchmark.console import ConsoleProgress, print_results
from qwen_embed_integrations.benchmark.results import SystemResult

if TYPE_CHECKING:
    from pathlib import Path

    from qwen_embed_integrations import Embedder, Reranker
    from qwen_embed_integrations.benchmark import Dataset


@pytest.fixture
def results(dataset: Dataset, embedder: Embedder, reranker: Reranker, tmp_path: Path) -> Results:
    dense, lexical = DenseSystem("all-MiniLM-L6-v2 (384)", embedder), LexicalSystem()
    systems = [
        dense,
        lexical,
        FusionSystem("all-MiniLM-L6-v2 (384) + BM25", (dense, lexical)),
        RerankedSystem("all-MiniLM-L6-v2 (384) → Qwen3-Reranker-0.6B", dense, reranker),
    ]
    return run(dataset, systems, tmp_path, latency_queries=3)


def printed(results: Results, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_results(console, results)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_the_tables_fit_80_columns_and_lose_nothing(results: Results) -> None:
    text = printed(results, 80)
    assert all(len(line.rstrip()) <= 80 for line in text.splitlines())
    assert "…" not in text
    together = "".join(text.split())
    for system in results.systems:
        main = system.metrics["nDCG@10"]
        assert f"{main.mean:.3f}" in text
        assert f"{main.low:.3f}–{main.high:.3f}" in text  # noqa: RUF001 en dash
        assert system.name.split()[-1] in together
    assert " is better than " in " ".join(text.split())


def test_failed_systems_are_printed_with_their_error(results: Results) -> None:
    failed = SystemResult("far [away]", "dense", {}, error="nobody answers at [::1]")
    assert "far [away] failed: nobody answers at [::1]" in printed(replace(results, systems=(failed,)), 80)


def test_warnings_are_printed_once(results: Results) -> None:
    noted = tuple(replace(system, notes=("2 of 9 texts were cut.",)) for system in results.systems)
    assert printed(replace(results, systems=noted), 80).count("Warning: 2 of 9 texts were cut.") == 1


def test_progress_is_silent_where_there_is_no_terminal() -> None:
    console = Console(file=io.StringIO(), force_terminal=False)
    with ConsoleProgress(console) as progress:
        progress.stage("embedding")
        progress.stage("asking", timed=True)
        progress.stage("reranking", total=3)
        progress.advance()
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


def test_progress_is_shown_on_a_terminal() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with ConsoleProgress(console) as progress:
        progress.stage("embedding [all]")
        progress.stage("asking", timed=True)
        assert progress._live is None  # nothing runs beside what is timed
        progress.stage("reranking", total=3)
        progress.advance()
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "embedding [all]" in text
    assert "asking" in text
    assert "1/3" in text
