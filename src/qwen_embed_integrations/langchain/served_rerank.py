"""ServedRerank: a reranker behind a server."""

from __future__ import annotations

from qwen_embed_integrations.langchain.rerank import ModelRerank
from qwen_embed_integrations.langchain.settings import ServedSettings
from qwen_embed_integrations.reranker import Reranker


class ServedRerank(ModelRerank, ServedSettings):
    """Rerank through SGLang, vLLM, TEI, Infinity, llama.cpp or an API that reranks.

    Options: see `ServedOptions`.

    Example:
        ```python
        rerank = ServedRerank(model="Qwen/Qwen3-Reranker-0.6B", base_url="http://localhost:30001/v1")
        retriever = RerankRetriever(retriever=store.as_retriever(search_kwargs={"k": 50}), reranker=rerank, k=5)
        ```

    Raises:
        InvalidInputError: If a setting cannot be used. Nothing is sent before the first use.
        WrongServerError: If `model` is an embedding model.
    """

    def _build(self) -> Reranker:
        return Reranker.served(self.model, profile=self.profile, instruction=self.instruction, **self._options())
