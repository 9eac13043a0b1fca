"""LocalEmbedding: an embedding model in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.callbacks import CallbackManager

from qwen_embed_integrations.embedder import Embedder
from qwen_embed_integrations.llama_index.embedding import EmbedderEmbedding
from qwen_embed_integrations.llama_index.settings import LocalSettings, name_of

if TYPE_CHECKING:
    from pathlib import Path

    from llama_index.core.storage.kvstore.types import BaseKVStore
    from typing_extensions import Unpack

    from qwen_embed_integrations.options import LocalKeywords
    from qwen_embed_integrations.profiles import ModelProfile


class LocalEmbedding(LocalSettings, EmbedderEmbedding):
    """Embed in this process with Qwen3, a BERT or any other model in sentence-transformers layout.

    The model is loaded here, and once more in every process that unpickles the object.

    Example:
        ```python
        Settings.embed_model = LocalEmbedding("Qwen/Qwen3-Embedding-0.6B", dimensions=512)
        index = VectorStoreIndex.from_documents(documents)
        ```

    Args:
        model: A folder in sentence-transformers layout, or a hub id. Kept as `model_name`.
        profile: What the model wants, where neither its name nor its files tell.
        dimensions: Size of the vectors; None for the model's own.
        query_instruction: Replaces the profile's default instruction for queries.
        embed_batch_size: Texts that LlamaIndex hands over at once, one batch after the other. At most 2048.
        num_workers: Batches embedded at once in async code; None for all.
        embeddings_cache: A LlamaIndex key-value store; entries are kept apart by model, prompts, dimensions and role.
        rate_limiter: A LlamaIndex rate limiter, asked once a batch.
        callback_manager: LlamaIndex callbacks.
        model_name: The same as `model`, as LlamaIndex passes it when it restores an object.
        **options: See `LocalOptions`.

    Raises:
        MissingExtraError: If torch or transformers is not installed.
        ModelLoadError: If the checkpoint is missing, incomplete or unsupported.
        InvalidInputError: If an argument cannot be used.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        profile: ModelProfile | None = None,
        dimensions: int | None = None,
        query_instruction: str | None = None,
        embed_batch_size: int = 2048,
        num_workers: int | None = None,
        embeddings_cache: BaseKVStore | None = None,
        rate_limiter: Any = None,
        callback_manager: CallbackManager | None = None,
        model_name: str | None = None,
        **options: Unpack[LocalKeywords],
    ) -> None:
        super().__init__(
            model_name=name_of(model or model_name),
            profile=profile,
            dimensions=dimensions,
            query_instruction=query_instruction,
            embed_batch_size=embed_batch_size,
            num_workers=num_workers,
            embeddings_cache=embeddings_cache,
            rate_limiter=rate_limiter,
            callback_manager=callback_manager or CallbackManager([]),
            **options,
        )

    @classmethod
    def class_name(cls) -> str:
        """Return the name LlamaIndex serialises this class by."""
        return "LocalEmbedding"

    def _build(self) -> Embedder:
        return Embedder.local(
            self.model_name,
            profile=self.profile,
            dimensions=self.dimensions,
            instruction=self.query_instruction,
            **self._options(),
        )
