"""ServedEmbeddings: an embedding model behind an OpenAI-compatible server."""

from __future__ import annotations

from qwen_embed_integrations.embedder import Embedder
from qwen_embed_integrations.langchain.embeddings import EmbedderEmbeddings
from qwen_embed_integrations.langchain.settings import ServedSettings
from qwen_embed_integrations.options import EncodingFormat, ServedOptions


class ServedEmbeddings(EmbedderEmbeddings, ServedSettings):
    """Embed through SGLang, vLLM, TEI or any other server that speaks OpenAI's embeddings API.

    Queries get the model's prompt and documents theirs; vectors come back in order, checked and of length 1. Requests
    run side by side in sync code too, which is all that most vector stores call. Options: see
    `ServedOptions`.

    Example:
        ```python
        embeddings = ServedEmbeddings(model="Qwen/Qwen3-Embedding-0.6B", base_url="http://localhost:30000/v1")
        store = Chroma("docs", embeddings)
        ```

    Raises:
        InvalidInputError: If a setting cannot be used. Nothing is sent before the first use.
        WrongServerError: If `model` is a reranker.
    """

    encoding_format: EncodingFormat = ServedOptions.encoding_format

    def _build(self) -> Embedder:
        return Embedder.served(
            self.model,
            profile=self.profile,
            dimensions=self.dimensions,
            instruction=self.query_instruction,
            **self._options(),
        )
