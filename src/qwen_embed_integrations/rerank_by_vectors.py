"""An embedding model as a reranker: candidates of a smaller model, ordered by the vectors of a better one."""

from __future__ import annotations

from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from qwen_embed_integrations.collector import Collector
from qwen_embed_integrations.errors import InvalidInputError, QwenEmbedError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from qwen_embed_integrations.embedder import Embedder
    from qwen_embed_integrations.engine import Batch, Usage
    from qwen_embed_integrations.vectors import Floats


class VectorRerankEngine:
    """Scores documents by the cosine of their vectors with the query's.

    Args:
        embedder: Stays open when this is closed.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @property
    def usage(self) -> Usage:
        """What the embedder has spent so far."""
        return self._embedder.usage

    def describe(self) -> dict[str, str | int | None]:
        """Tell what the embedder tells."""
        return self._embedder.describe()

    def rerank(self, query: str, documents: Sequence[str], instruction: str | None) -> Iterator[Batch]:
        """Yield cosines in parts."""
        if not documents:
            return
        collector = Collector(1, finish=lambda rows: rows, parameter="query")
        with _naming_the_query():
            for batch in self._embedder.embed_batches([query], "query", instruction=instruction):
                collector.add(batch)
            vector = collector.result((0,))[0]
        with _naming_documents():
            for batch in self._embedder.embed_batches(documents, "document"):
                yield _scored(batch, vector)

    async def arerank(
        self, query: str, documents: Sequence[str], instruction: str | None
    ) -> AsyncGenerator[Batch, None]:
        """Yield cosines in parts."""
        if not documents:
            return
        collector = Collector(1, finish=lambda rows: rows, parameter="query")
        with _naming_the_query():
            async with aclosing(self._embedder.aembed_batches([query], "query", instruction=instruction)) as batches:
                async for batch in batches:
                    collector.add(batch)
            vector = collector.result((0,))[0]
        with _naming_documents():
            async with aclosing(self._embedder.aembed_batches(documents, "document")) as batches:
                async for batch in batches:
                    yield _scored(batch, vector)

    def close(self) -> None:
        """Leave the embedder as it is."""

    async def aclose(self) -> None:
        """Leave the embedder as it is."""


def _scored(batch: Batch, vector: Floats) -> Batch:
    if batch.failure is not None:
        _rename(batch.failure, "documents")
    if not len(batch.positions):
        return batch
    # Rounding alone brings a cosine beyond 1.
    return replace(batch, values=(batch.values @ vector).clip(-1, 1))


@contextmanager
def _naming_the_query() -> Iterator[None]:
    try:
        yield
    except QwenEmbedError as error:
        _rename(error, "query")
        error.positions = ()  # which are those of documents
        error.completed = None
        raise


@contextmanager
def _naming_documents() -> Iterator[None]:
    try:
        yield
    except QwenEmbedError as error:
        _rename(error, "documents")
        raise


def _rename(error: QwenEmbedError, parameter: str) -> None:
    """Call the texts what the caller of `rerank` calls them."""
    if isinstance(error, InvalidInputError) and error.parameter == "texts":
        error.parameter = parameter
        error.args = (str(error).replace("`texts`", f"`{parameter}`"),)
