"""Vectors in Chroma: a persistent collection with pinned settings, and exact search beside it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qwen_embed_integrations import interrupts
from qwen_embed_integrations.benchmark.ranking import best
from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.extras import require

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from typing_extensions import Self

    from qwen_embed_integrations.benchmark.ranking import Scores
    from qwen_embed_integrations.vectors import Float32

_QUERIES_PER_CALL = 256
# The rest of a float32 similarity is noise, which would order equal documents one way in Chroma and another in numpy.
_DIGITS = 6
_SAME = 1e-5


@dataclass(frozen=True)
class IndexSettings:
    """How Chroma builds and searches its graph (HNSW) of near vectors.

    Attributes:
        ef_search: Candidates kept while searching. Chroma's default of 100 loses neighbours, and which ones differs
            from build to build; at 500 the loss is below what changes a mean.
        ef_construction: Candidates kept while building.
        max_neighbors: Links a vector.
    """

    ef_search: int = 500
    ef_construction: int = 200
    max_neighbors: int = 32

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1:
                raise InvalidInputError(f"`{name}` is {value}; it must be at least 1.", parameter=name)


class VectorIndex:
    """A persistent Chroma collection with cosine distance; a context manager.

    Attributes:
        settings: Pinned in the collection.
    """

    def __init__(self, folder: Path, settings: IndexSettings) -> None:
        """Create the collection.

        Args:
            folder: Where Chroma keeps its files; empty or missing.
            settings: Pinned in the collection.

        Raises:
            MissingExtraError: If chromadb is not installed.
        """
        chromadb = require("chromadb", extra="benchmark")
        self.settings = settings
        self._client: Any = chromadb.PersistentClient(
            path=str(folder), settings=chromadb.Settings(anonymized_telemetry=False)
        )
        self._collection: Any = self._client.create_collection(
            "benchmark",
            configuration={"hnsw": {"space": "cosine", **asdict(settings)}},
            embedding_function=None,  # vectors are always passed in; a default one would be downloaded
        )

    def add(self, ids: Sequence[str], rows: Float32, texts: Sequence[str]) -> None:
        """Store vectors with their texts, as an application would.

        Args:
            ids: Document ids.
            rows: Unit vectors, shape `(n, dimensions)`.
            texts: The documents.
        """
        size = self._client.get_max_batch_size()
        for start in range(0, len(ids), size):
            interrupts.check()
            part = slice(start, start + size)
            self._collection.upsert(ids=list(ids[part]), embeddings=rows[part], documents=list(texts[part]))

    def search(self, rows: Float32, depth: int, *, with_texts: bool = False) -> list[Scores]:
        """Find near vectors.

        Args:
            rows: Query vectors, shape `(n, dimensions)`.
            depth: How many documents a query, at most.
            with_texts: Have Chroma read the texts too, as an application would.

        Returns:
            Cosine similarity by document id, for each query.
        """
        include = ["distances", "documents"] if with_texts else ["distances"]
        results: list[Scores] = []
        for start in range(0, len(rows), _QUERIES_PER_CALL):
            interrupts.check()
            reply = self._collection.query(
                query_embeddings=rows[start : start + _QUERIES_PER_CALL], n_results=depth, include=include
            )
            for ids, distances in zip(reply["ids"], reply["distances"], strict=True):
                results.append(
                    {key: round(1.0 - float(distance), _DIGITS) for key, distance in zip(ids, distances, strict=True)}
                )
        return results

    def close(self) -> None:
        """Close the files."""
        # Before 1.5.2 a client has no close, and its files stay open until the process ends.
        getattr(self._client, "close", lambda: None)()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def exact_search(ids: Sequence[str], documents: Float32, queries: Float32, depth: int) -> list[Scores]:
    """Compare every query with every document.

    Args:
        ids: Document ids.
        documents: Unit vectors, shape `(n, dimensions)`.
        queries: Unit vectors, shape `(m, dimensions)`.
        depth: How many documents a query, at most.

    Returns:
        Cosine similarity by document id, for each query.
    """
    results: list[Scores] = []
    for start in range(0, len(queries), _QUERIES_PER_CALL):
        interrupts.check()
        similarities = (queries[start : start + _QUERIES_PER_CALL] @ documents.T).astype(np.float64).round(_DIGITS)
        results.extend(best(ids, row, depth) for row in similarities)
    return results


def overlap(results: Sequence[Scores], exact: Sequence[Scores]) -> float:
    """Tell how much of the exact result an index finds.

    Args:
        results: Results of the index, one a query, cut to the same depth as `exact`.
        exact: Results of exact search.

    Returns:
        Mean share of the exact neighbours that the index finds. A document as near as the last exact neighbour counts
        as one, since equal vectors have no order.
    """
    shares = []
    for approximate, true in zip(results, exact, strict=True):
        lowest = min(true.values()) - _SAME
        shares.append(min(1.0, sum(similarity >= lowest for similarity in approximate.values()) / len(true)))
    return float(np.mean(shares))
