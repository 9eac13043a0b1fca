"""EmbeddingRerank: an embedding model as the second stage."""

from __future__ import annotations

from typing import Any

from langchain_core.load.serializable import Serializable
from pydantic import ConfigDict

from qwen_embed_integrations.langchain.embeddings import (
    EmbedderEmbeddings,  # noqa: TC001 pydantic reads the annotation at runtime
)
from qwen_embed_integrations.langchain.rerank import RerankerCompressor
from qwen_embed_integrations.reranker import Reranker


class EmbeddingRerank(RerankerCompressor, Serializable):
    """Rerank by the vectors of a better embedding model than the one that retrieved.

    Scores are cosines, from -1 to 1.

    Example:
        ```python
        better = ServedEmbeddings(model="Qwen/Qwen3-Embedding-4B", base_url="http://localhost:30000/v1")
        rerank = EmbeddingRerank(embeddings=better)
        retriever = RerankRetriever(retriever=store.as_retriever(search_kwargs={"k": 50}), reranker=rerank, k=5)
        ```

    Raises:
        InvalidInputError: If an instruction is given and the model takes none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    embeddings: EmbedderEmbeddings
    """Embeds the query and what was retrieved, anew in each call. It stays the caller's to close."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # Wrong settings should fail here, and with the core's own errors.
        _ = self.reranker

    @property
    def reranker(self) -> Reranker:
        """The core object."""
        return Reranker.over(self.embeddings.embedder, instruction=self.instruction)

    async def _areranker(self) -> Reranker:
        embedder = await self.embeddings._aget()  # noqa: SLF001 a class of this package
        return Reranker.over(embedder, instruction=self.instruction)

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Tell LangChain that `dumpd` and `load` work."""
        return True
