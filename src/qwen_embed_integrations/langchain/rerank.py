"""LangChain's document compressor interface over a Reranker."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, cast

from langchain_core.callbacks import AsyncCallbackManager, CallbackManager
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables import ensure_config
from pydantic import Field

from qwen_embed_integrations.langchain.settings import Settings
from qwen_embed_integrations.profiles import RerankProfile  # noqa: TC001 pydantic reads the annotation at runtime

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_core.callbacks import Callbacks

    from qwen_embed_integrations.reranker import RankedDocument, Reranker


class RerankerCompressor(BaseDocumentCompressor):
    """A document compressor whose work a `Reranker` does."""

    instruction: str | None = None
    """Replaces the profile's default instruction."""
    top_n: int | None = Field(default=None, ge=1)
    """How many documents to return; None returns all."""
    score_threshold: float | None = None
    """Leaves out documents that score lower."""

    @property
    @abstractmethod
    def reranker(self) -> Reranker:
        """The core object."""

    @abstractmethod
    async def _areranker(self) -> Reranker:
        """Return the core object, loading it off the event loop if need be."""

    def rerank(
        self,
        documents: Sequence[Document | str],
        query: str,
        *,
        top_n: int | None = None,
        instruction: str | None = None,
    ) -> list[RankedDocument]:
        """Score documents against a query.

        Args:
            documents: Documents or texts to order.
            query: What is searched for.
            top_n: Replaces this object's `top_n` for this call.
            instruction: Replaces this object's `instruction` for this call.

        Returns:
            Index and score of the best documents, best first.

        Raises:
            InvalidInputError: If a text is blank; nothing is sent then.
            QwenEmbedError: If the server or the model fails.
        """
        limit = self.top_n if top_n is None else top_n
        return self._relevant(self.reranker.rerank(query, _texts(documents), top_n=limit, instruction=instruction))

    async def arerank(
        self,
        documents: Sequence[Document | str],
        query: str,
        *,
        top_n: int | None = None,
        instruction: str | None = None,
    ) -> list[RankedDocument]:
        """Score documents against a query, on the running event loop; see `rerank`."""
        limit = self.top_n if top_n is None else top_n
        reranker = await self._areranker()
        ranked = await reranker.arerank(query, _texts(documents), top_n=limit, instruction=instruction)
        return self._relevant(ranked)

    def compress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,
        *,
        top_n: int | None = None,
    ) -> list[Document]:
        """Order documents by relevance and leave out the rest.

        Args:
            documents: What was retrieved; left as it is.
            query: What is searched for.
            callbacks: Reranking shows in tracing as a child run of these.
            top_n: Replaces this object's `top_n` for this call.

        Returns:
            Copies, best first, with id and all metadata kept and `relevance_score` added to the metadata.

        Raises:
            InvalidInputError: If a text is blank; nothing is sent then.
            QwenEmbedError: If the server or the model fails.
        """
        manager = CallbackManager.configure(_or_inherited(callbacks))
        run = manager.on_retriever_start(None, query, name=type(self).__name__)
        try:
            ranked = _scored(documents, self.rerank(documents, query, top_n=top_n))
        except Exception as error:
            run.on_retriever_error(error)
            raise
        run.on_retriever_end(ranked)
        return ranked

    async def acompress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,
        *,
        top_n: int | None = None,
    ) -> list[Document]:
        """Order documents by relevance, on the running event loop; see `compress_documents`."""
        manager = AsyncCallbackManager.configure(_or_inherited(callbacks))
        run = await manager.on_retriever_start(None, query, name=type(self).__name__)
        try:
            ranked = _scored(documents, await self.arerank(documents, query, top_n=top_n))
        except Exception as error:
            await run.on_retriever_error(error)
            raise
        await run.on_retriever_end(ranked)
        return ranked

    def _relevant(self, ranked: list[RankedDocument]) -> list[RankedDocument]:
        threshold = self.score_threshold
        return ranked if threshold is None else [document for document in ranked if document.score >= threshold]


class ModelRerank(RerankerCompressor, Settings):
    """A document compressor with a reranker of its own."""

    profile: RerankProfile | None = None
    """What the model wants, where its name or its files do not tell."""

    @property
    def reranker(self) -> Reranker:
        """The core object."""
        return cast("Reranker", self._get())

    async def _areranker(self) -> Reranker:
        return cast("Reranker", await self._aget())

    def _share(self, core: Reranker) -> Reranker:
        return core.with_options(instruction=self.instruction, show_progress=self.show_progress_bar)


def _texts(documents: Iterable[Document | str]) -> list[str]:
    return [document.page_content if isinstance(document, Document) else document for document in documents]


def _scored(documents: Sequence[Document], ranked: list[RankedDocument]) -> list[Document]:
    copies = []
    for index, score in ranked:
        copied = documents[index].model_copy(deep=True)
        copied.metadata["relevance_score"] = score
        copies.append(copied)
    return copies


def _or_inherited(callbacks: Callbacks | None) -> Any:
    # Inside a chain's function the caller's run is known to LangChain even when it is not passed on.
    return ensure_config().get("callbacks") if callbacks is None else callbacks
