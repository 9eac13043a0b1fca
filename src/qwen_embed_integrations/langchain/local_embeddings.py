"""LocalEmbeddings: an embedding model in this process."""

from __future__ import annotations

from qwen_embed_integrations.embedder import Embedder
from qwen_embed_integrations.langchain.embeddings import EmbedderEmbeddings
from qwen_embed_integrations.langchain.settings import LocalSettings


class LocalEmbeddings(EmbedderEmbeddings, LocalSettings):
    """Embed in this process with Qwen3, BERT-like or any sentence-transformers model.

    The model is loaded here, and once more in every process that unpickles the object, at its first use. Options:
    see `LocalOptions`.

    Example:
        ```python
        embeddings = LocalEmbeddings(model="mixedbread-ai/mxbai-embed-large-v1", dimensions=512)
        store = Chroma("docs", embeddings)
        ```

    Raises:
        MissingExtraError: If torch or transformers is not installed.
        ModelLoadError: If the checkpoint is missing, incomplete or unsupported.
        InvalidInputError: If a setting cannot be used.
    """

    def _build(self) -> Embedder:
        return Embedder.local(
            self.model,
            profile=self.profile,
            dimensions=self.dimensions,
            instruction=self.query_instruction,
            **self._options(),
        )
