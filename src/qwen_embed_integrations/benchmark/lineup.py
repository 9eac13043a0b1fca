"""Which systems a run compares, from the models it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_embed_integrations.benchmark.models import NamedEmbedder, labels
from qwen_embed_integrations.benchmark.systems import DenseSystem, FusionSystem, LexicalSystem, RerankedSystem
from qwen_embed_integrations.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_embed_integrations.benchmark.systems import System
    from qwen_embed_integrations.reranker import Reranker


def build_lineup(
    models: Sequence[NamedEmbedder],
    *,
    dimensions: Sequence[int] = (),
    reranker: Reranker | None = None,
    rerank_depth: int = 50,
    bm25: bool = True,
    fusion: bool = True,
) -> list[System]:
    """Build the systems that are compared.

    Args:
        models: Embedding models.
        dimensions: Vector sizes, each for every model; none means each model's own.
        reranker: Goes over the first size of each model.
        rerank_depth: Documents to rerank.
        bm25: Whether BM25 takes part.
        fusion: Whether the first size of each model is fused with BM25, if that takes part.

    Returns:
        All dense systems, BM25, the fusions, the reranked ones.

    Raises:
        InvalidInputError: If a model cannot give one of the sizes.
    """
    for model in models:
        size = model.embedder.dimensions
        refused = [dimension for dimension in dimensions if dimension < 1 or (size is not None and dimension > size)]
        if refused:
            raise InvalidInputError(
                f"`dimensions` holds {refused[0]}; {model.label} gives vectors of at least 1"
                + (f" and at most {size}." if size else "."),
                parameter="dimensions",
            )
    sizes: list[int | None] = list(dict.fromkeys(dimensions)) or [None]
    dense = {
        model.label: [DenseSystem(_name(model, size), model.embedder, size, model.model) for size in sizes]
        for model in models
    }
    systems: list[System] = [system for of_one_model in dense.values() for system in of_one_model]
    if bm25:
        lexical = LexicalSystem()
        systems.append(lexical)
        if fusion:
            systems.extend(FusionSystem(f"{first.name} + BM25", (first, lexical)) for first, *_ in dense.values())
    if reranker is not None:
        label = labels([reranker.profile.name])[0]
        systems.extend(
            RerankedSystem(f"{first.name} → {label}", first, reranker, rerank_depth) for first, *_ in dense.values()
        )
    return systems


def _name(model: NamedEmbedder, size: int | None) -> str:
    shown = size or model.embedder.dimensions
    return f"{model.label} ({shown})" if shown else model.label


def parse_dimensions(text: str | None) -> list[int]:
    """Read `384,128`.

    Args:
        text: Whole numbers between commas.

    Returns:
        The numbers.

    Raises:
        InvalidInputError: If it is something else.
    """
    if text is None:
        return []
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InvalidInputError(
            f"`dimensions` is {text!r}; it must be whole numbers between commas, such as 384,128.",
            parameter="dimensions",
        ) from None
