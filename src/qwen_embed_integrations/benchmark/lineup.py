"""From models to the systems of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_embed_integrations.benchmark.models import Labelled, labels
from qwen_embed_integrations.benchmark.systems import DenseSystem, FusionSystem, LexicalSystem, RerankedSystem
from qwen_embed_integrations.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_embed_integrations.benchmark.systems import System
    from qwen_embed_integrations.reranker import Reranker


def assemble(
    models: Sequence[Labelled],
    *,
    dimensions: Sequence[int] = (),
    reranker: Reranker | None = None,
    rerank_depth: int = 50,
    bm25: bool = True,
    fusion: bool = True,
) -> list[System]:
    """Lay out what is compared.

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
        wrong = [each for each in dimensions if each < 1 or (size is not None and each > size)]
        if wrong:
            raise InvalidInputError(
                f"`dimensions` holds {wrong[0]}; {model.label} gives vectors of at least 1"
                + (f" and at most {size}." if size else "."),
                parameter="dimensions",
            )
    sizes: list[int | None] = list(dict.fromkeys(dimensions)) or [None]
    dense = {
        model.label: [DenseSystem(_name(model, size), model.embedder, size, model.model) for size in sizes]
        for model in models
    }
    systems: list[System] = [system for each in dense.values() for system in each]
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


def _name(model: Labelled, size: int | None) -> str:
    known = size or model.embedder.dimensions
    return f"{model.label} ({known})" if known else model.label


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
