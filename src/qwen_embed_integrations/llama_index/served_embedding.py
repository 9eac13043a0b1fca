"""ServedEmbedding: an embedding model behind an OpenAI-compatible server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.callbacks import CallbackManager
from pydantic import Field

from qwen_embed_integrations.embedder import Embedder
from qwen_embed_integrations.llama_index.embedding import EmbedderEmbedding
from qwen_embed_integrations.llama_index.settings import ServerSettings, name_of
from qwen_embed_integrations.options import EncodingFormat, ServedOptions

if TYPE_CHECKING:
    from llama_index.core.storage.kvstore.types import BaseKVStore
    from pydantic import SecretStr
    from typing_extensions import Unpack

    from qwen_embed_integrations.options import ServedEmbeddingKeywords
    from qwen_embed_integrations.profiles import ModelProfile


class ServedEmbedding(ServerSettings, EmbedderEmbedding):
    """Embed through SGLang, vLLM, TEI or any other server that speaks OpenAI's embeddings API.

    Queries get the model's prompt and documents theirs; vectors come back in order, checked and of length 1.

    Example:
        ```python
        Settings.embed_model = ServedEmbedding("Qwen/Qwen3-Embedding-0.6B", base_url="http://localhost:30000/v1")
        index = VectorStoreIndex.from_documents(documents)
        ```

    Args:
        model: Name the server knows the model by; also picks the profile. Kept as `model_name`.
        base_url: Address up to and including `/v1`; read from `QWEN_EMBED_BASE_URL` where not given.
        api_key: Sent as a bearer token; read from `QWEN_EMBED_API_KEY` where not given. Pickled, so that worker
            processes have it, but never part of `to_dict`.
        profile: What the model wants, where its name does not tell.
        dimensions: Size of the vectors; None for the model's own.
        query_instruction: Replaces the profile's default instruction for queries.
        embed_batch_size: Texts that LlamaIndex hands over at once, one batch after the other; large, so that there is
            enough for `max_concurrency` requests. At most 2048.
        num_workers: Batches embedded at once in async code; None for all, within `max_concurrency`.
        embeddings_cache: A LlamaIndex key-value store; entries are kept apart by model, prompts, dimensions and role.
        rate_limiter: A LlamaIndex rate limiter, asked once a batch.
        callback_manager: LlamaIndex callbacks.
        model_name: The same as `model`, as LlamaIndex passes it when it restores an object.
        **options: See `ServedOptions`.

    Raises:
        InvalidInputError: If an argument cannot be used. Nothing is sent before the first use.
        WrongServerError: If `model` is a reranker.
    """

    encoding_format: EncodingFormat = Field(ServedOptions.encoding_format, frozen=True, exclude=True)

    def __init__(
        self,
        model: str | None = None,
        *,
        base_url: str | None = None,
        api_key: SecretStr | str | None = None,
        profile: ModelProfile | None = None,
        dimensions: int | None = None,
        query_instruction: str | None = None,
        embed_batch_size: int = 2048,
        num_workers: int | None = None,
        embeddings_cache: BaseKVStore | None = None,
        rate_limiter: Any = None,
        callback_manager: CallbackManager | None = None,
        model_name: str | None = None,
        **options: Unpack[ServedEmbeddingKeywords],
    ) -> None:
        super().__init__(
            model_name=name_of(model or model_name),
            base_url=base_url,
            api_key=api_key,
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
        return "ServedEmbedding"

    def _build(self) -> Embedder:
        return Embedder.served(
            self.model_name,
            profile=self.profile,
            dimensions=self.dimensions,
            instruction=self.query_instruction,
            **self._options(),
        )
