from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from qwen_embed_integrations.benchmark import DenseSystem, FusionSystem, LexicalSystem, Results, run
from qwen_embed_integrations.benchmark.index import IndexSettings
from qwen_embed_integrations.benchmark.report import milliseconds, plain, rate, render, signed
from qwen_embed_integrations.benchmark.results import Example, SystemResult

if TYPE_CHECKING:
    from pathlib import Path

    from qwen_embed_integrations import Embedder
    from qwen_embed_integrations.benchmark import Dataset

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Reads a page strictly: every element that is opened is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture
def results(dataset: Dataset, embedder: Embedder, tmp_path: Path) -> Results:
    dense, lexical = DenseSystem("hashed (64)", embedder), LexicalSystem()
    return run(
        dataset,
        [dense, lexical, FusionSystem("hashed (64) + BM25", (dense, lexical))],
        tmp_path,
        index=IndexSettings(ef_search=321),
        latency_queries=5,
    )


def test_the_report_says_what_was_compared_on_what_and_what_came_of_it(results: Results) -> None:
    words = Page(render(results)).words
    assert "RAG benchmark: words" in words
    assert "60 queries over 60 documents" in words
    assert " is better than hashed (64) by 0." in words
    assert "hashed (64) + BM25" in words
    assert f"{results.systems[0].metrics['nDCG@10'].mean:.3f}" in words
    assert "ef_search 321" in words
    assert results.dataset["sha256"] in words
    assert results.versions["chromadb"] in words


def test_the_file_on_disk_is_the_report(results: Results, tmp_path: Path) -> None:
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == render(results)


def test_the_report_asks_the_network_for_nothing(results: Results) -> None:
    text = render(results)
    page = Page(text)
    links = [value for _, name, value in page.attributes if name in {"src", "href", "xlink:href", "action", "data"}]
    assert {link for link in links if not str(link).startswith("#")} == {"data:,"}
    assert "script" not in {tag for tag, *_ in page.attributes}
    assert not re.search(r"<script|@import|url\((?!#)|https?://", text)
    policy = [value for tag, name, value in page.attributes if tag == "meta" and name == "content"]
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in policy


def test_the_plots_stand_in_the_page_as_drawings(results: Results) -> None:
    page = Page(render(results))
    assert [value for tag, name, value in page.attributes if (tag, name) == ("svg", "class")] == ["wide", "narrow"] * 3
    labels = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert labels[::2] == [
        "nDCG@10 of each system with its 95% interval",
        "nDCG@10 against the time of a query",
        "Median time of each stage of a query",
    ]
    assert "&lt;svg" not in render(results)


def test_text_of_the_run_is_escaped(results: Results) -> None:
    nasty = "<script>alert('1')</script> & \"quoted\""
    first, *others = results.systems
    attacked = replace(
        results,
        dataset={**results.dataset, "name": nasty, "about": {nasty: nasty}},
        systems=(
            replace(first, name=nasty, settings={nasty: nasty}, notes=(nasty,)),
            *others,
            SystemResult(nasty + "2", "dense", {}, error=nasty),
        ),
        examples=(Example(nasty, nasty, {nasty: 1, **{other.name: None for other in others}}),),
        hardware={**results.hardware, "cpu": nasty},
    )
    text = render(attacked)
    assert "<script" not in text
    assert Page(text).words.count("<script>alert('1')</script>") > 10


def test_an_unfinished_run_says_so(results: Results) -> None:
    unfinished = replace(results, complete=False)
    assert "This run has not finished" in Page(render(unfinished)).words
    assert "This run has not finished" not in Page(render(results)).words


def test_a_run_that_has_only_begun_has_a_report_too(results: Results) -> None:
    words = Page(render(replace(results, complete=False, systems=(), examples=()))).words
    assert "No system has finished yet." in words
    assert "How it was measured" in words


def test_failed_systems_are_named_with_their_error(results: Results) -> None:
    failed = SystemResult("remote", "dense", {}, error="nobody answers")
    words = Page(render(replace(results, systems=(*results.systems, failed)))).words
    assert "1 of 4 systems failed" in words
    assert "remote : nobody answers" in words


def test_an_index_that_loses_neighbours_is_called_out(results: Results) -> None:
    first, *others = results.systems
    lossy = replace(first, index_check=replace(first.index_check, recall_at_10=0.9))
    assert "Raise --ef-search" in Page(render(replace(results, systems=(lossy, *others)))).words
    assert "Raise --ef-search" not in Page(render(results)).words


def test_numbers_are_written_for_people() -> None:
    assert [milliseconds(value) for value in (0.123, 1.23, 45.6, 1234.5)] == ["0.12", "1.2", "45.6", "1,234"]
    assert [rate(value) for value in (None, 3.21, 4567.8)] == ["–", "3.2", "4,568"]  # noqa: RUF001 en dash
    assert [signed(value) for value in (0.0123, -0.5)] == ["+0.012", "−0.500"]  # noqa: RUF001 minus
    assert [plain(value) for value in (None, True, 12345, ["a", 1], {"a": 1.5})] == [
        "none",
        "yes",
        "12,345",
        "a, 1",
        "a 1.5",
    ]


@pytest.mark.parametrize("tiny", [-0.0001, -0.0, 0.0001])
def test_a_difference_of_nothing_has_no_minus(tiny: float) -> None:
    assert signed(tiny) == "+0.000"
