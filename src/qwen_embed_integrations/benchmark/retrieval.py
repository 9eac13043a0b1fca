"""Indexed systems: they answer all queries together for quality, and one by one for time."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from qwen_embed_integrations import interrupts, vectors
from qwen_embed_integrations.benchmark.index import exact_search
from qwen_embed_integrations.benchmark.lexical import LexicalIndex
from qwen_embed_integrations.benchmark.ranking import fuse, ranked
from qwen_embed_integrations.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qwen_embed_integrations.benchmark.datasets import Dataset
    from qwen_embed_integrations.benchmark.index import VectorIndex
    from qwen_embed_integrations.benchmark.progress import Progress
    from qwen_embed_integrations.benchmark.ranking import Scores
    from qwen_embed_integrations.benchmark.systems import DenseSystem, FusionSystem, LexicalSystem, RerankedSystem
    from qwen_embed_integrations.vectors import Float32


@dataclass(frozen=True)
class IndexCost:
    """What it took to make documents searchable.

    Attributes:
        embed_seconds: Embedding all documents; 0 without an embedding model. Systems that cut the vectors of one
            embedder share one embedding, and all of them show its time.
        store_seconds: Storing vectors and texts in Chroma, or building BM25.
        tokens: Tokens the embedding model read, where it counts them.
    """

    embed_seconds: float = 0.0
    store_seconds: float = 0.0
    tokens: int = 0

    def __add__(self, other: IndexCost) -> IndexCost:
        return IndexCost(
            self.embed_seconds + other.embed_seconds,
            self.store_seconds + other.store_seconds,
            self.tokens + other.tokens,
        )


class Stopwatch:
    """Sums seconds by stage.

    Attributes:
        seconds: Seconds by name of the stage.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Add the time spent inside to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


class Retriever(Protocol):
    """An indexed system."""

    @property
    def cost(self) -> IndexCost:
        """What indexing took."""
        ...

    @property
    def results(self) -> list[Scores]:
        """Answers to all queries, in their order."""
        ...

    def search(self, query: str, depth: int, watch: Stopwatch) -> Scores:
        """Answer one query as an application would, and time each stage."""
        ...


@dataclass(frozen=True)
class ModelVectors:
    """All vectors of one embedder.

    Attributes:
        documents: Shape `(documents, size)`.
        queries: Shape `(queries, size)`.
        seconds: Time to embed the documents.
        tokens: Tokens of the documents.
    """

    documents: Float32
    queries: Float32
    seconds: float
    tokens: int


class DenseRetriever:
    """An embedding model over Chroma."""

    def __init__(
        self,
        system: DenseSystem,
        dataset: Dataset,
        model: ModelVectors,
        index: VectorIndex,
        *,
        depth: int,
        progress: Progress,
    ) -> None:
        size, profile = model.documents.shape[1], system.embedder.profile
        if system.dimensions is not None and system.dimensions > size:
            raise InvalidInputError(
                f"`dimensions` is {system.dimensions}, but the vectors of {system.model or profile.name} have {size}.",
                parameter="dimensions",
            )
        self._embedder = system.embedder
        self._dimensions = system.dimensions
        self._ids = list(dataset.documents)
        self._model = model
        self._queries = vectors.cut(model.queries, system.dimensions)
        self._index = index
        self._depth = min(depth, len(self._ids))
        rows = vectors.cut(model.documents, system.dimensions)
        progress.stage(f"{system.name}: storing {len(self._ids):,} documents in Chroma", timed=True)
        watch = Stopwatch()
        with watch.time("store"):
            index.add(self._ids, rows, list(dataset.documents.values()))
        self.cost = IndexCost(model.seconds, watch.seconds["store"], model.tokens)

    @cached_property
    def results(self) -> list[Scores]:
        """Answers to all queries."""
        return self._index.search(self._queries, self._depth)

    def top(self, depth: int) -> list[Scores]:
        """Answers to all queries of the search that `search` makes, for `depth` documents and no more."""
        # HNSW looks at as many candidates as are asked for, or ef_search if that is more. Below ef_search a deeper
        # search is the same one, and its ties are broken here and not by the index.
        if self._depth <= self._index.settings.ef_search:
            return [{document: scores[document] for document in ranked(scores, depth)} for scores in self.results]
        return self._index.search(self._queries, min(depth, len(self._ids)))

    def exact(self, depth: int) -> list[Scores]:
        """Answers of exact search with the same vectors."""
        # Cut once more instead of kept: a run holds all its systems to the end.
        return exact_search(self._ids, vectors.cut(self._model.documents, self._dimensions), self._queries, depth)

    def search(self, query: str, depth: int, watch: Stopwatch) -> Scores:
        """Answer one query."""
        with watch.time("embed"):
            rows = vectors.cut(self._embedder.embed_queries([query]), self._dimensions)
        with watch.time("search"):
            return self._index.search(rows, min(depth, len(self._ids)), with_texts=True)[0]


class LexicalRetriever:
    """BM25."""

    def __init__(self, system: LexicalSystem, dataset: Dataset, depth: int, progress: Progress) -> None:
        progress.stage(f"{system.name}: indexing {len(dataset.documents):,} documents", timed=True)
        self._queries = list(dataset.queries.values())
        self._depth = depth
        watch = Stopwatch()
        with watch.time("store"):
            self._index = LexicalIndex(dataset.documents, k1=system.k1, b=system.b)
        self.cost = IndexCost(store_seconds=watch.seconds["store"])

    @cached_property
    def results(self) -> list[Scores]:
        """Answers to all queries."""
        results = []
        for query in self._queries:
            interrupts.check()
            results.append(self._index.search(query, self._depth))
        return results

    def search(self, query: str, depth: int, watch: Stopwatch) -> Scores:
        """Answer one query."""
        with watch.time("search"):
            return self._index.search(query, depth)


class FusionRetriever:
    """Other retrievers, fused by rank."""

    def __init__(self, system: FusionSystem, parts: list[Retriever]) -> None:
        self._system = system
        self._parts = parts
        self.cost = sum((part.cost for part in parts), IndexCost())

    @cached_property
    def results(self) -> list[Scores]:
        """Answers to all queries."""
        return [self._fuse(answers) for answers in zip(*(part.results for part in self._parts), strict=True)]

    def search(self, query: str, depth: int, watch: Stopwatch) -> Scores:
        """Answer one query."""
        answers = [part.search(query, self._system.depth, watch) for part in self._parts]
        with watch.time("search"):
            fused = self._fuse(answers)
            return {document: fused[document] for document in ranked(fused, depth)}

    def _fuse(self, answers: Sequence[Scores]) -> Scores:
        return fuse(answers, k=self._system.k, depth=self._system.depth)


class RerankedRetriever:
    """A reranker over the first documents of another retriever."""

    def __init__(self, system: RerankedSystem, dataset: Dataset, first: Retriever, progress: Progress) -> None:
        self._system = system
        self._dataset = dataset
        self._first = first
        self._progress = progress
        self.cost = first.cost

    @cached_property
    def results(self) -> list[Scores]:
        """Answers to all queries."""
        queries = self._dataset.queries.values()
        self._progress.stage(f"{self._system.name}: reranking for {len(queries):,} queries", total=len(queries))
        results = []
        for query, candidates in zip(queries, self._first.results, strict=True):
            interrupts.check()
            results.append(self._rerank(query, candidates))
            self._progress.advance()
        return results

    def search(self, query: str, depth: int, watch: Stopwatch) -> Scores:
        """Answer one query."""
        candidates = self._first.search(query, self._system.depth, watch)
        with watch.time("rerank"):
            scores = self._rerank(query, candidates)
        return {document: scores[document] for document in ranked(scores, depth)}

    def _rerank(self, query: str, candidates: Scores) -> Scores:
        documents = ranked(candidates, self._system.depth)
        if not documents:
            return {}
        texts = [self._dataset.documents[document] for document in documents]
        return {documents[index]: score for index, score in self._system.reranker.rerank(query, texts)}
