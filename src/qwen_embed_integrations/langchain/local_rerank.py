"""LocalRerank: a reranker in this process."""

from __future__ import annotations

from qwen_embed_integrations.langchain.rerank import ModelRerank
from qwen_embed_integrations.langchain.settings import LocalSettings
from qwen_embed_integrations.reranker import Reranker


class LocalRerank(ModelRerank, LocalSettings):
    """Rerank in this process with a Qwen3-Reranker or a cross-encoder.

    The model is loaded here, and once more in every process that unpickles the object, at its first use. Options:
    see `LocalOptions`.

    Example:
        ```python
        rerank = LocalRerank(model="Qwen/Qwen3-Reranker-0.6B", top_n=5)
        retriever = RerankRetriever(retriever=store.as_retriever(search_kwargs={"k": 50}), reranker=rerank)
        ```

    Raises:
        MissingExtraError: If torch or transformers is not installed.
        ModelLoadError: If the checkpoint is missing, incomplete or unsupported.
    """

    def _build(self) -> Reranker:
        return Reranker.local(self.model, profile=self.profile, instruction=self.instruction, **self._options())
