"""Indexed systems, and the vectors and indexes that they share, each built once."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

from qwen_embed_integrations import interrupts
from qwen_embed_integrations.benchmark.index import IndexSettings, VectorIndex
from qwen_embed_integrations.benchmark.progress import Progress, Silent
from qwen_embed_integrations.benchmark.retrieval import (
    DenseRetriever,
    FusionRetriever,
    LexicalRetriever,
    ModelVectors,
    RerankedRetriever,
    Retriever,
    Stopwatch,
)
from qwen_embed_integrations.benchmark.systems import FusionSystem, LexicalSystem, RerankedSystem

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

    from qwen_embed_integrations.benchmark.datasets import Dataset
    from qwen_embed_integrations.benchmark.systems import DenseSystem, System
    from qwen_embed_integrations.embedder import Embedder

_Built = TypeVar("_Built")


class SharedParts:
    """Builds each system and each model's vectors once; a context manager that closes them."""

    def __init__(
        self, dataset: Dataset, folder: Path, settings: IndexSettings, *, depth: int, progress: Progress | None = None
    ) -> None:
        """Build nothing yet.

        Args:
            dataset: What is searched.
            folder: Where Chroma keeps its files.
            settings: How Chroma indexes.
            depth: Documents a query that `results` hold; more than any metric, fusion or reranker looks at, so that
                equal scores at its end are broken here and not by the index.
            progress: Is told what is being done.
        """
        self._dataset = dataset
        self._depth = depth
        self._folder = folder
        self._settings = settings
        self._progress = progress or Silent()
        self._retrievers: dict[System, Retriever | Exception] = {}
        self._vectors: dict[int, ModelVectors | Exception] = {}
        self._open = ExitStack()

    def retriever(self, system: System) -> Retriever:
        """Return an indexed system.

        Args:
            system: What to build.

        Returns:
            The same retriever each time. What failed once raises the same error again, without a new try.
        """
        if system not in self._retrievers:
            try:
                self._retrievers[system] = self._build(system)
            except Exception as error:  # noqa: BLE001 stored, and raised below
                self._retrievers[system] = error
        return _built_or_raise(self._retrievers[system])

    def _build(self, system: System) -> Retriever:
        if isinstance(system, LexicalSystem):
            return LexicalRetriever(system, self._dataset, self._depth, self._progress)
        if isinstance(system, FusionSystem):
            return FusionRetriever(system, [self.retriever(part) for part in system.parts])
        if isinstance(system, RerankedSystem):
            return RerankedRetriever(system, self._dataset, self.retriever(system.first), self._progress)
        model = self._model(system)
        index = self._open.enter_context(VectorIndex(self._folder / str(len(self._retrievers)), self._settings))
        return DenseRetriever(system, self._dataset, model, index, depth=self._depth, progress=self._progress)

    def _model(self, system: DenseSystem) -> ModelVectors:
        key = id(system.embedder)
        if key not in self._vectors:
            try:
                self._vectors[key] = self._embed(system.embedder, system.name)
            except Exception as error:  # noqa: BLE001 stored, and raised below
                self._vectors[key] = error
        return _built_or_raise(self._vectors[key])

    def _embed(self, embedder: Embedder, name: str) -> ModelVectors:
        texts = list(self._dataset.documents.values())
        self._progress.stage(f"{name}: embedding {len(texts):,} documents")
        queries = list(self._dataset.queries.values())
        embedder.embed_queries(queries[:1])  # the first call also connects, or sets up the threads
        before = embedder.usage.tokens
        watch = Stopwatch()
        interrupts.check()
        with watch.time("embed"):
            documents = embedder.embed_documents(texts)
        interrupts.check()
        tokens = embedder.usage.tokens - before
        self._progress.stage(f"{name}: embedding {len(queries):,} queries")
        return ModelVectors(documents, embedder.embed_queries(queries), watch.seconds["embed"], tokens)

    def close(self) -> None:
        """Close the indexes."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _built_or_raise(built: _Built | Exception) -> _Built:
    if isinstance(built, Exception):
        raise built
    return built
