from __future__ import annotations

import json
import signal
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pressing import press_in_destructor
from qwen_embed_integrations import interrupts
from qwen_embed_integrations.benchmark import (
    Dataset,
    DenseSystem,
    FusionSystem,
    LexicalSystem,
    RerankedSystem,
    Results,
    run,
)
from qwen_embed_integrations.benchmark.metrics import METRICS
from qwen_embed_integrations.errors import InvalidInputError, LongTextWarning

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from qwen_embed_integrations import Embedder, Reranker
    from qwen_embed_integrations.benchmark import System


@pytest.fixture
def systems(embedder: Embedder, reranker: Reranker) -> list[System]:
    dense, lexical = DenseSystem("dense (64)", embedder), LexicalSystem()
    return [
        dense,
        DenseSystem("dense (8)", embedder, 8),
        lexical,
        FusionSystem("dense (64) + BM25", (dense, lexical)),
        RerankedSystem("dense (64) → tiny", dense, reranker, 20),
    ]


@pytest.fixture
def results(dataset: Dataset, systems: list[System], tmp_path: Path) -> Results:
    return run(dataset, systems, tmp_path / "out", latency_queries=10, settings={"device": "cpu"})


def on_disk(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return content


def test_a_run_measures_every_system(results: Results) -> None:
    assert results.complete
    assert not results.failed
    assert [system.kind for system in results.systems] == ["dense", "dense", "lexical", "fusion", "reranked"]
    for system in results.systems:
        assert set(system.metrics) == set(METRICS)
        assert all(0 <= each.low <= each.mean <= each.high <= 1 for each in system.metrics.values())
        assert system.latency["total"].p50 <= system.latency["total"].p95 <= system.latency["total"].p99
        assert system.memory_peak_mib >= system.memory_before_mib > 0
        assert system.indexing.documents == 60


def test_quality_is_what_the_made_up_data_promise(results: Results) -> None:
    full, small, lexical, fused, _ = (system.metrics["nDCG@10"].mean for system in results.systems)
    assert small < full < lexical  # colliding hashes lose what whole words keep
    assert fused > full


def test_the_others_are_tested_against_the_first(results: Results) -> None:
    first, *others = results.systems
    assert first.comparison is None
    for system in others:
        comparison = system.comparison
        assert comparison.against == first.name
        assert comparison.difference.mean == pytest.approx(
            system.metrics["nDCG@10"].mean - first.metrics["nDCG@10"].mean
        )
        assert comparison.difference.low <= comparison.difference.mean <= comparison.difference.high
    raw = sorted(system.comparison.p_value for system in others)
    assert min(system.comparison.corrected_p_value for system in others) == pytest.approx(min(1, 4 * raw[0]))


def test_dense_systems_are_checked_against_exact_search(results: Results) -> None:
    for system in results.systems[:2]:
        assert system.index_check.recall_at_10 == 1.0  # sixty documents are no challenge
        # Counted words tie often, and a tie may fall either way in the last digit.
        assert system.index_check.exact["nDCG@10"] == pytest.approx(system.metrics["nDCG@10"].mean, abs=0.01)
    assert all(system.index_check is None for system in results.systems[2:])


def test_the_file_holds_what_is_returned(results: Results, dataset: Dataset, tmp_path: Path) -> None:
    content = on_disk(tmp_path / "out")
    assert content["format"] == 1
    assert content["complete"] is True
    assert content["dataset"] == {
        "name": "words",
        "documents": 60,
        "queries": 60,
        "sha256": dataset.sha256,
        "about": {"source": "made up"},
    }
    assert content["settings"]["device"] == "cpu"
    assert content["settings"]["chroma"] == {
        "space": "cosine",
        "ef_search": 500,
        "ef_construction": 200,
        "max_neighbors": 32,
    }
    assert content["versions"]["chromadb"]
    assert content["hardware"]["cores"] >= 1
    for written, system in zip(content["systems"], results.systems, strict=True):
        assert written["name"] == system.name
        assert written["metrics"]["nDCG@10"]["mean"] == system.metrics["nDCG@10"].mean
        assert written["latency"]["total"]["p95"] == system.latency["total"].p95


def test_nothing_but_the_results_is_left(results: Results, tmp_path: Path) -> None:
    assert results
    assert sorted(entry.name for entry in (tmp_path / "out").iterdir()) == ["report.html", "results.json"]


def test_examples_show_where_each_system_found_the_answer(results: Results, dataset: Dataset) -> None:
    assert len(results.examples) == 3
    for example in results.examples:
        assert example.query in dataset.queries.values()
        assert example.document in dataset.documents.values()
        assert list(example.ranks) == [system.name for system in results.systems]


def test_the_same_inputs_give_the_same_quality(
    results: Results, dataset: Dataset, systems: list[System], tmp_path: Path
) -> None:
    again = run(dataset, systems, tmp_path / "again", latency_queries=3)
    for one, two in zip(results.systems, again.systems, strict=True):
        assert one.metrics == two.metrics
        assert one.comparison == two.comparison
        assert one.index_check == two.index_check


def test_a_failing_system_is_recorded_and_the_others_go_on(dataset: Dataset, refused: Embedder, tmp_path: Path) -> None:
    dense, lexical = DenseSystem("dense", refused), LexicalSystem()
    results = run(dataset, [dense, FusionSystem("both", (dense, lexical)), lexical], tmp_path, latency_queries=3)
    assert results.complete
    assert [system.name for system in results.failed] == ["dense", "both"]
    assert all("nobody answers" in system.error for system in results.failed)
    assert [system.name for system in results.finished] == ["BM25"]
    assert results.finished[0].comparison is None  # the first that finished has nothing to be tested against
    assert on_disk(tmp_path)["systems"][0]["error"] == results.failed[0].error


def test_an_error_nobody_foresaw_is_recorded_with_its_kind(
    dataset: Dataset,
    embedder: Embedder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def explode(*_: object) -> None:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(embedder._engine, "embed", explode)
    results = run(dataset, [DenseSystem("dense", embedder), LexicalSystem()], tmp_path, latency_queries=3)
    assert results.failed[0].error == "ZeroDivisionError: boom"
    assert "explode" in caplog.text  # the traceback, for a report of the bug


def test_a_run_that_is_cut_off_leaves_what_was_finished(
    dataset: Dataset, embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(embedder._engine, "embed", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(dataset, [LexicalSystem(), DenseSystem("dense", embedder)], tmp_path, latency_queries=3)
    content = on_disk(tmp_path)
    assert content["complete"] is False
    assert [system["name"] for system in content["systems"]] == ["BM25"]
    assert "This run has not finished" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["report.html", "results.json"]


def test_an_interrupt_that_a_destructor_dropped_ends_the_run(
    dataset: Dataset, embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interrupts, "_raise_again_soon", lambda _: None)  # only a check helps
    embed = embedder.embed_documents

    def press(texts: list[str]) -> np.ndarray:
        press_in_destructor()
        return embed(texts)

    monkeypatch.setattr(embedder, "embed_documents", press)
    systems = [LexicalSystem(), DenseSystem("dense", embedder), LexicalSystem("BM25 again")]
    with pytest.raises(KeyboardInterrupt), interrupts.noted(signal.SIGINT):
        run(dataset, systems, tmp_path, latency_queries=3)
    assert [system["name"] for system in on_disk(tmp_path)["systems"]] == ["BM25"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["report.html", "results.json"]


def test_warnings_of_a_system_become_its_notes(
    dataset: Dataset, embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = embedder.embed_documents

    def warn(texts: list[str]) -> np.ndarray:
        warnings.warn("3 texts were cut", LongTextWarning, stacklevel=2)
        return embed(texts)

    monkeypatch.setattr(embedder, "embed_documents", warn)
    results = run(dataset, [DenseSystem("dense", embedder), LexicalSystem()], tmp_path, latency_queries=3)
    assert [system.notes for system in results.systems] == [("3 texts were cut",), ()]


def test_a_fusion_deeper_than_usual_gets_what_it_asks_for(embedder: Embedder, tmp_path: Path) -> None:
    documents = {f"d{index:03}": f"bako {index}" for index in range(150)}
    deep = Dataset("deep", documents, {"q": "bako"}, {"q": {"d000": 1}})
    dense = DenseSystem("dense", embedder)
    results = run(deep, [FusionSystem("both", (dense, LexicalSystem()), depth=150)], tmp_path, latency_queries=1)
    # equal scores go by falling id, so the answer is the very last
    assert results.examples[0].ranks["both"] is not None


def test_a_relevant_document_that_is_not_in_the_corpus_counts_as_missed(dataset: Dataset, tmp_path: Path) -> None:
    judged = {query: {**grades, "blank": 1} for query, grades in dataset.relevance.items()}
    full = run(dataset, [LexicalSystem()], tmp_path / "a", latency_queries=1)
    less = run(replace(dataset, relevance=judged), [LexicalSystem()], tmp_path / "b", latency_queries=1)
    assert less.systems[0].metrics["Recall@10"].mean == pytest.approx(full.systems[0].metrics["Recall@10"].mean / 2)


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ([], {}, "`systems` is empty"),
        (["BM25", "BM25"], {}, "`systems` has more than one named BM25"),
        (["BM25"], {"latency_queries": 0}, "`latency_queries` is 0"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(
    dataset: Dataset, tmp_path: Path, names: list[str], options: dict[str, int], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        run(dataset, [LexicalSystem(name) for name in names], tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(InvalidInputError, match=r"`output` .* cannot be made a folder"):
        run(dataset, [LexicalSystem()], tmp_path / "out")
