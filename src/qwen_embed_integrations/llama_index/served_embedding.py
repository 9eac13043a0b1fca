"""ServedEmbedding: an embedding model behind an OpenAI-compatible server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from llama_index.core.callbacks import CallbackManager
from pydantic import Field

from qwen_embed_integrations.embedder import Embedder
from qwen_embed_integrations.llama_index.embedding import EmbedderEmbedding
from qwen_embed_integrations.llama_index.settings import ServerSettings, name_of

if TYPE_CHECKING:
    from llama_index.core.storage.kvstore.types import BaseKVStore
    from pydantic import SecretStr

    from qwen_embed_integrations.llama_index.settings import Dialect
    from qwen_embed_integrations.options import LongText
    from qwen_embed_integrations.profiles import ModelProfile

EncodingFormat = Literal["auto", "base64", "float"]


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
        dialect: What the server is, where it is not to be recognised: `"sglang"`, `"vllm"`, … A `ServerInfo` says more,
            and then nothing is asked.
        batch_size: Texts in one request, at most.
        max_concurrency: Requests in flight at once, over all callers in all threads, and in each event loop.
        timeout: Seconds to wait for the server to say something more.
        max_retries: Retries of a request after a failed connection, 408, 409, 429 or 5xx.
        long_text: `"truncate"` cuts what the server finds too long and warns; `"error"` raises.
        encoding_format: How vectors travel; `"auto"` takes base64 where the API is not known to lack it.
        default_headers: Sent with every request.
        show_progress: Show a progress bar for every call.
        embed_batch_size: Texts that LlamaIndex hands over at once, one lot after the other; large, so that there is
            enough for `max_concurrency` requests. At most 2048.
        num_workers: Lots embedded at once in async code; None for all, within `max_concurrency`.
        embeddings_cache: A LlamaIndex key-value store; entries are kept apart by model, prompts, dimensions and role.
        rate_limiter: A LlamaIndex rate limiter, asked once a lot.
        callback_manager: LlamaIndex callbacks.
        model_name: The same as `model`, as LlamaIndex passes it when it restores an object.

    Raises:
        InvalidInputError: If an argument cannot be used. Nothing is sent before the first use.
        WrongServerError: If `model` is a reranker.
    """

    encoding_format: EncodingFormat = Field(frozen=True, exclude=True)

    def __init__(
        self,
        model: str | None = None,
        *,
        base_url: str | None = None,
        api_key: SecretStr | str | None = None,
        profile: ModelProfile | None = None,
        dimensions: int | None = None,
        query_instruction: str | None = None,
        dialect: Dialect = "auto",
        batch_size: int = 64,
        max_concurrency: int = 8,
        timeout: float = 60.0,
        max_retries: int = 3,
        long_text: LongText = "truncate",
        encoding_format: EncodingFormat = "auto",
        default_headers: dict[str, str] | None = None,
        show_progress: bool = False,
        embed_batch_size: int = 2048,
        num_workers: int | None = None,
        embeddings_cache: BaseKVStore | None = None,
        rate_limiter: Any = None,
        callback_manager: CallbackManager | None = None,
        model_name: str | None = None,
    ) -> None:
        super().__init__(
            model_name=name_of(model or model_name),
            base_url=base_url,
            api_key=api_key,
            profile=profile,
            dimensions=dimensions,
            query_instruction=query_instruction,
            dialect=dialect,
            batch_size=batch_size,
            max_concurrency=max_concurrency,
            timeout=timeout,
            max_retries=max_retries,
            long_text=long_text,
            encoding_format=encoding_format,
            default_headers=default_headers,
            show_progress=show_progress,
            embed_batch_size=embed_batch_size,
            num_workers=num_workers,
            embeddings_cache=embeddings_cache,
            rate_limiter=rate_limiter,
            callback_manager=callback_manager or CallbackManager([]),
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
            encoding_format=self.encoding_format,
            **self._served(),
        )
