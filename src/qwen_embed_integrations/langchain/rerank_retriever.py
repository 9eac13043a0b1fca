"""RerankRetriever: retrieve many, rerank, return the best few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# pydantic reads the annotations at runtime.
from langchain_core.documents import BaseDocumentCompressor, Document  # noqa: TC002
from langchain_core.retrievers import BaseRetriever, RetrieverLike
from pydantic import ConfigDict, Field

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.langchain.rerank import RerankerCompressor

if TYPE_CHECKING:
    from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun


class RerankRetriever(BaseRetriever):
    """Retrieve candidates, order them with a reranker, and return the best.

    It needs langchain-core only. `invoke(query, k=3)` asks for another number in one call; other keywords go on to
    `retriever`.

    Example:
        ```python
        retriever = RerankRetriever(
            retriever=store.as_retriever(search_kwargs={"k": 50}),
            reranker=ServedRerank(model="Qwen/Qwen3-Reranker-0.6B", base_url="http://localhost:30001/v1"),
            k=5,
        )
        ```
    """

    model_config = ConfigDict(extra="forbid")

    retriever: RetrieverLike
    """Finds the candidates; it should find more than `k`."""
    reranker: BaseDocumentCompressor
    """Orders them: `ServedRerank`, `LocalRerank` or any other document compressor."""
    k: int | None = Field(default=None, ge=1)
    """How many documents to return, whatever the reranker's own `top_n`; None leaves it to the reranker."""

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Tell LangChain that `dumpd` and `load` work, where they do for `retriever` and `reranker`."""
        return True

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None, **search: Any
    ) -> list[Document]:
        limit = self._limit_of(k)
        candidates = self.retriever.invoke(query, {"callbacks": run_manager.get_child()}, **search)
        if not candidates:
            return []
        ranked = self.reranker.compress_documents(
            candidates, query, callbacks=run_manager.get_child(), **self._top_n(limit)
        )
        return list(ranked)[:limit]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None, **search: Any
    ) -> list[Document]:
        limit = self._limit_of(k)
        candidates = await self.retriever.ainvoke(query, {"callbacks": run_manager.get_child()}, **search)
        if not candidates:
            return []
        ranked = await self.reranker.acompress_documents(
            candidates, query, callbacks=run_manager.get_child(), **self._top_n(limit)
        )
        return list(ranked)[:limit]

    def _limit_of(self, k: int | None) -> int | None:
        if k is not None and k < 1:
            raise InvalidInputError(f"`k` is {k}; it must be at least 1.", parameter="k")
        return self.k if k is None else k

    def _top_n(self, limit: int | None) -> dict[str, Any]:
        # Other compressors have no such argument: their own limit stands.
        return {"top_n": limit} if limit is not None and isinstance(self.reranker, RerankerCompressor) else {}
