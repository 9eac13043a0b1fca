"""What can be compared: dense retrieval, BM25, their fusion, and reranking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qwen_embed_integrations.embedder import Embedder
from qwen_embed_integrations.errors import InvalidInputError

if TYPE_CHECKING:
    from qwen_embed_integrations.reranker import Reranker


@dataclass(frozen=True)
class DenseSystem:
    """An embedding model over Chroma.

    Attributes:
        name: What tables and reports call it.
        embedder: Embeds queries and documents, once for all systems that share it.
        dimensions: Vectors are cut to this size and brought back to length 1; None keeps the embedder's.
        model: What the record calls the model; None takes the name of its profile.
    """

    name: str
    embedder: Embedder
    dimensions: int | None = None
    model: str | None = None

    kind = "dense"

    def __post_init__(self) -> None:
        if self.dimensions is not None and self.dimensions < 1:
            raise InvalidInputError(
                f"`dimensions` is {self.dimensions}; it must be at least 1.", parameter="dimensions"
            )

    def settings(self) -> dict[str, Any]:
        """Describe it for the record."""
        profile = self.embedder.profile
        return {
            "model": self.model or profile.name,
            "fingerprint": self._fingerprint(),
            "dimensions": self.dimensions or self.embedder.dimensions,
            "query_prefix": profile.prefix("query", self.embedder.instruction),
            "document_prefix": profile.prefix("document"),
            "distance": "cosine",
        }

    def _fingerprint(self) -> str | None:
        """Return that of an embedder of this size; None where the model gives no such size."""
        embedder = self.embedder
        if self.dimensions is None or self.dimensions == embedder.dimensions:
            return embedder.fingerprint
        try:
            # Embeds nothing and is never closed: the engine stays the first embedder's.
            cut = Embedder(
                embedder._engine,  # noqa: SLF001 one model, described at another size
                embedder.profile,
                dimensions=self.dimensions,
                instruction=embedder.instruction,
            )
        except InvalidInputError:
            return None
        return cut.fingerprint


@dataclass(frozen=True)
class LexicalSystem:
    """BM25 over words, identifier parts and pairs of characters.

    Attributes:
        name: What tables and reports call it.
        k1: How much a repeated term adds.
        b: How much long documents are held back.
    """

    name: str = "BM25"
    k1: float = 1.5
    b: float = 0.75

    kind = "lexical"

    def settings(self) -> dict[str, Any]:
        """Describe it for the record."""
        return {"k1": self.k1, "b": self.b, "variant": "Lucene"}


@dataclass(frozen=True)
class FusionSystem:
    """Reciprocal-rank fusion of other systems.

    Attributes:
        name: What tables and reports call it.
        parts: The systems that are fused.
        k: Damps the first ranks.
        depth: How many documents of each part are fused.
    """

    name: str
    parts: tuple[System, ...]
    k: int = 60
    depth: int = 100

    kind = "fusion"

    def __post_init__(self) -> None:
        _check_depth(self.depth)

    def settings(self) -> dict[str, Any]:
        """Describe it for the record."""
        return {"parts": [part.name for part in self.parts], "k": self.k, "depth": self.depth}


@dataclass(frozen=True)
class RerankedSystem:
    """A reranker over the first documents of another system.

    Attributes:
        name: What tables and reports call it.
        first: Finds the documents.
        reranker: Scores them again; its scores decide.
        depth: How many documents are scored again.
    """

    name: str
    first: System
    reranker: Reranker
    depth: int = 50

    kind = "reranked"

    def __post_init__(self) -> None:
        _check_depth(self.depth)

    def settings(self) -> dict[str, Any]:
        """Describe it for the record."""
        profile = self.reranker.profile
        return {
            "first": self.first.name,
            "model": profile.name,
            "instruction": self.reranker.instruction or profile.default_instruction,
            "depth": self.depth,
        }


System = DenseSystem | LexicalSystem | FusionSystem | RerankedSystem


def _check_depth(depth: int) -> None:
    if depth < 1:
        raise InvalidInputError(f"`depth` is {depth}; take at least 1 document.", parameter="depth")
