from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qwen_embed_integrations.benchmark.lineup import build_lineup, parse_dimensions
from qwen_embed_integrations.benchmark.models import NamedEmbedder
from qwen_embed_integrations.errors import InvalidInputError

if TYPE_CHECKING:
    from qwen_embed_integrations import Embedder, Reranker


@pytest.fixture
def models(embedder: Embedder) -> list[NamedEmbedder]:
    return [NamedEmbedder("one", embedder), NamedEmbedder("two", embedder)]


def test_everything_is_laid_out_dense_first(models: list[NamedEmbedder], reranker: Reranker) -> None:
    systems = build_lineup(models, dimensions=[64, 8], reranker=reranker, rerank_depth=7)
    assert [system.name for system in systems] == [
        "one (64)",
        "one (8)",
        "two (64)",
        "two (8)",
        "BM25",
        "one (64) + BM25",
        "two (64) + BM25",
        "one (64) → tiny-reranker",
        "two (64) → tiny-reranker",
    ]
    assert systems[-1].depth == 7


def test_without_sizes_a_model_keeps_its_own(models: list[NamedEmbedder]) -> None:
    systems = build_lineup(models[:1], bm25=False)
    assert [(system.name, system.dimensions) for system in systems] == [("one (64)", None)]


def test_bm25_and_the_fusion_can_be_left_out(models: list[NamedEmbedder]) -> None:
    assert [system.name for system in build_lineup(models[:1], fusion=False)] == ["one (64)", "BM25"]
    assert [system.name for system in build_lineup(models[:1], bm25=False)] == ["one (64)"]


def test_a_size_given_twice_counts_once(models: list[NamedEmbedder]) -> None:
    assert len(build_lineup(models[:1], dimensions=[8, 8], bm25=False)) == 1


@pytest.mark.parametrize("size", [0, -1, 65])
def test_a_size_the_model_cannot_give_is_refused_before_anything_runs(models: list[NamedEmbedder], size: int) -> None:
    with pytest.raises(InvalidInputError, match=f"`dimensions` holds {size}; one gives .* at most 64"):
        build_lineup(models, dimensions=[8, size])


@pytest.mark.parametrize(("text", "sizes"), [(None, []), ("384", [384]), ("384, 128", [384, 128])])
def test_sizes_are_read_from_text(text: str | None, sizes: list[int]) -> None:
    assert parse_dimensions(text) == sizes


@pytest.mark.parametrize("text", ["", "384;128", "large", "384,"])
def test_text_that_is_no_sizes_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="must be whole numbers between commas"):
        parse_dimensions(text)
