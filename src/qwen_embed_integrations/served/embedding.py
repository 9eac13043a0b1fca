"""Embeddings over HTTP: OpenAI's API, as each server speaks it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from qwen_embed_integrations.served.engine import ServedEngine
from qwen_embed_integrations.served.flow import Request
from qwen_embed_integrations.served.replies import read_embeddings
from qwen_embed_integrations.served.splitting import Talk, settle

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from qwen_embed_integrations.engine import Batch
    from qwen_embed_integrations.options import ServedOptions
    from qwen_embed_integrations.profiles import ModelProfile
    from qwen_embed_integrations.served.dialects.base import Embeds
    from qwen_embed_integrations.served.flow import Flow
    from qwen_embed_integrations.served.splitting import Item
    from qwen_embed_integrations.vectors import Float32


class ServedEmbeddingEngine(ServedEngine):
    """Turns finished texts into vectors over HTTP.

    Attributes:
        identity: What the vectors depend on beside prompts and dimensions.
        size: Size of a reply's vectors; None before the first reply where no profile tells.
    """

    task = "embed"

    def __init__(self, model: str, profile: ModelProfile, options: ServedOptions, *, dimensions: int | None) -> None:
        super().__init__(model, options)
        self.take_at_most(profile.max_batch or options.batch_size)
        self.identity: dict[str, str | None] = {"model": model}
        self.size = dimensions or profile.dimensions
        self._dimensions = dimensions
        self._encoding_format = options.encoding_format
        self._model_has_base64 = profile.base64

    def embed(self, texts: Sequence[str]) -> Iterator[Batch]:
        """Yield vectors in parts."""
        return self.run(texts, self._flow)

    def aembed(self, texts: Sequence[str]) -> AsyncGenerator[Batch, None]:
        """Yield vectors in parts."""
        return self.arun(texts, self._flow)

    @property
    def _form(self) -> Embeds:
        return cast("Embeds", self.server.form)

    def _flow(self, items: Sequence[Item]) -> Flow[list[Batch]]:
        batches = yield from self.somewhere(
            lambda: self._form.paths(self.connection.base_url), partial(self._settle, items)
        )
        # Asked after the first reply, so that a server that is down is tried, and reported, only once.
        yield from self.server.ask(needed=False)
        return batches

    def _settle(self, items: Sequence[Item], path: str) -> Flow[list[Batch]]:
        return settle(items, Talk(partial(self._ask, path), partial(self._read, path), "texts", self))

    def _ask(self, path: str, texts: Sequence[str]) -> Request:
        form, encoding_format = self._form, str(self._encoding_format)
        if encoding_format == "auto":
            encoding_format = "base64" if self._model_has_base64 and form.base64 else "float"
        return Request(path, form.body(self.model, texts, encoding_format, self._dimensions))

    def _read(self, path: str, reply: bytes, count: int) -> Float32:
        said, url = self.parse(reply, path), self.connection.url(path)
        rows = read_embeddings(said, count, url, self.size)
        with self._lock:  # several first replies may come at once, and must agree
            size = self.size = self.size or rows.shape[1]
        return rows if rows.shape[1] == size else read_embeddings(said, count, url, size)
