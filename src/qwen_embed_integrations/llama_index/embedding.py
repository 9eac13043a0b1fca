"""LlamaIndex's embedding interface over an Embedder."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from llama_index.core.base.embeddings.base import BaseEmbedding, dispatcher
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.utils import get_tqdm_iterable
from pydantic import Field, field_validator

from qwen_embed_integrations.callers import remember_caller
from qwen_embed_integrations.inputs import check_texts
from qwen_embed_integrations.llama_index.settings import CoreSettings
from qwen_embed_integrations.llama_index.vector_cache import VectorCache
from qwen_embed_integrations.profiles import ModelProfile  # noqa: TC001 pydantic reads the annotation at runtime

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qwen_embed_integrations.embedder import Embedder
    from qwen_embed_integrations.profiles import Role


class EmbedderEmbedding(CoreSettings, BaseEmbedding):
    """An embedding model whose work an `Embedder` does."""

    model_name: str = Field(frozen=True)
    profile: ModelProfile | None = Field(frozen=True)
    dimensions: int | None = Field(frozen=True)
    query_instruction: str | None = Field(frozen=True)
    embed_batch_size: int = Field(gt=0, le=2048, exclude=True)
    num_workers: int | None = Field(exclude=True)
    embeddings_cache: Any = Field(exclude=True, repr=False)
    rate_limiter: Any = Field(exclude=True, repr=False)

    @field_validator("embeddings_cache")
    @classmethod
    def _by_role(cls, store: Any) -> VectorCache | None:
        return None if store is None else VectorCache(store)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, self._by_role(value) if name == "embeddings_cache" else value)

    @property
    def embedder(self) -> Embedder:
        """The core object: arrays instead of lists, many queries at once, usage, fingerprint."""
        return cast("Embedder", self._get())

    def _share(self, core: Embedder) -> Embedder:
        return core.with_options(
            dimensions=self.dimensions, instruction=self.query_instruction, show_progress=self.show_progress
        )

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """Return the settings, without secrets, that `from_dict` takes; pass the key and the tuning to it again.

        Printed, they show only what the vectors depend on: LlamaIndex hashes that text into the keys of its ingestion
        cache, which then change with the model, the instruction and the dimensions, and not with an address.
        """
        return _Settings(
            super().to_dict(**kwargs), text=f"{self.class_name()}(fingerprint={self.embedder.fingerprint!r})"
        )

    def to_payload(self) -> dict[str, Any]:
        """Return what observers are told about this model."""
        # LlamaIndex asks on the event loop, where no weights are to be loaded for it.
        embedder: Embedder | None = self._core.built if self._loads else self.embedder
        return {
            "class_name": self.class_name(),
            "model_name": self.model_name,
            "embed_batch_size": self.embed_batch_size,
            "dimensions": embedder.dimensions if embedder is not None else self.dimensions,
            "query_instruction": self.query_instruction,
        }

    def get_text_embedding_batch(
        self,
        texts: Iterable[str],
        show_progress: bool = False,  # noqa: FBT001, FBT002 LlamaIndex's signature
        **kwargs: Any,
    ) -> list[list[float]]:
        """Embed documents.

        Args:
            texts: The documents.
            show_progress: Show a progress bar.
            **kwargs: As LlamaIndex passes them.

        Returns:
            A unit vector for each, in order.

        Raises:
            InvalidInputError: If a text is blank or no string.
            QwenEmbedError: If the server or the model fails; `positions` count within one `embed_batch_size`.
        """
        # LlamaIndex's method takes their number.
        listed = check_texts(texts, parameter="texts")
        return super().get_text_embedding_batch(listed, show_progress, **kwargs)

    async def aget_text_embedding_batch(
        self,
        texts: Iterable[str],
        show_progress: bool = False,  # noqa: FBT001, FBT002 LlamaIndex's signature
        **_: Any,
    ) -> list[list[float]]:
        """Embed documents; the first failure ends the others.

        Args:
            texts: The documents.
            show_progress: Show a progress bar.

        Returns:
            A unit vector for each, in order.

        Raises:
            InvalidInputError: If a text is blank or no string.
            QwenEmbedError: If the server or the model fails; `positions` count within one `embed_batch_size`.
        """
        # LlamaIndex's method leaves the events of a failed call open and its other batches running.
        size = self.embed_batch_size
        listed = check_texts(texts, parameter="texts")
        if listed:
            await self._aget()
        batches = [listed[start : start + size] for start in range(0, len(listed), size)]
        slots = asyncio.Semaphore(self.num_workers or len(batches) or 1)
        with remember_caller():
            tasks = [asyncio.ensure_future(self._aembed_batch(batch, slots)) for batch in batches]
        rows: list[list[float]] = []
        try:
            for task in get_tqdm_iterable(tasks, show_progress, "Generating embeddings"):
                rows.extend(await task)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return rows

    async def _aembed_batch(self, texts: list[str], slots: asyncio.Semaphore) -> list[list[float]]:
        async with slots:
            if self.rate_limiter is not None:
                await self.rate_limiter.async_acquire()
            payload = self.to_payload()
            dispatcher.event(EmbeddingStartEvent(model_dict=payload))
            with self.callback_manager.event(
                CBEventType.EMBEDDING, payload={EventPayload.SERIALIZED: payload}
            ) as event:
                rows = await self._aget_text_embeddings(texts)
                event.on_end(payload={EventPayload.CHUNKS: texts, EventPayload.EMBEDDINGS: rows})
            dispatcher.event(EmbeddingEndEvent(chunks=texts, embeddings=rows))
            return rows

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._embed([query], "query")[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return (await self._aembed([query], "query"))[0]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._embed([text], "document")[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aembed([text], "document"))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._embed(texts, "document")

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await self._aembed(texts, "document")

    def _embed(self, texts: list[str], role: Role) -> list[list[float]]:
        with _ended_on_failure(texts):
            embed = partial(self.embedder.embed_lists, role=role)
            if self.embeddings_cache is None:
                return embed(texts)
            return cast("VectorCache", self.embeddings_cache).fill(texts, self._space(texts, role), embed)

    async def _aembed(self, texts: list[str], role: Role) -> list[list[float]]:
        with _ended_on_failure(texts):
            embedder: Embedder = await self._aget()
            embed = partial(embedder.aembed_lists, role=role)
            if self.embeddings_cache is None:
                return await embed(texts)
            return await cast("VectorCache", self.embeddings_cache).afill(texts, self._space(texts, role), embed)

    def _space(self, texts: list[str], role: Role) -> str:
        # Checked before the cache takes some of the texts away, so that positions are those of the caller.
        check_texts(texts, parameter="texts")
        return f"{self.embedder.fingerprint}:{role}"


class _Settings(dict[str, Any]):
    """Settings that print as one text."""

    def __init__(self, settings: dict[str, Any], *, text: str) -> None:
        super().__init__(settings)
        self._text = text

    def __repr__(self) -> str:
        return self._text


@contextmanager
def _ended_on_failure(texts: list[str]) -> Iterator[None]:
    # LlamaIndex announces every end but that of a failure, and observers wait for it.
    try:
        yield
    except BaseException:
        dispatcher.event(EmbeddingEndEvent(chunks=texts, embeddings=[]))
        raise
