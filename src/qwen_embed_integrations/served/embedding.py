"""Embeddings over HTTP: OpenAI's API, as each server speaks it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, cast

from qwen_embed_integrations.served.endpoint import Endpoint
from qwen_embed_integrations.served.replies import read_embeddings
from qwen_embed_integrations.served.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence
    from typing import Any

    from qwen_embed_integrations.engine import Batch, Usage
    from qwen_embed_integrations.options import ServedOptions
    from qwen_embed_integrations.profiles import ModelProfile
    from qwen_embed_integrations.served.dialects.base import Body, Embeds
    from qwen_embed_integrations.served.recognition import Recognition
    from qwen_embed_integrations.vectors import Float32


class ServedEmbeddingEngine:
    """Turns finished texts into vectors over HTTP.

    Attributes:
        server: Where the model runs.
        identity: What the vectors depend on beside prompts and dimensions.
        size: Size of a reply's vectors; None before the first reply where no profile tells.
    """

    def __init__(self, model: str, profile: ModelProfile, options: ServedOptions, *, dimensions: int | None) -> None:
        self.server = Server(model, "embed", options)
        if profile.max_batch is not None:
            self.server.limits.lower_max_batch(profile.max_batch)
        self.identity: dict[str, str | None] = {"model": model}
        self.size = dimensions or profile.dimensions
        self._model = model
        self._dimensions = dimensions
        self._encoding_format: str = options.encoding_format
        self._model_has_base64 = profile.base64
        self._lock = threading.Lock()

    def embed(self, texts: Sequence[str]) -> Iterator[Batch]:
        """Yield vectors in parts."""
        return self.server.run(texts, self._endpoints)

    def aembed(self, texts: Sequence[str]) -> AsyncGenerator[Batch, None]:
        """Yield vectors in parts."""
        return self.server.arun(texts, self._endpoints)

    @property
    def usage(self) -> Usage:
        """Tokens and requests so far."""
        return self.server.usage.total

    def describe(self) -> dict[str, str | int | None]:
        """Return what is known of the server by now; see `Server.describe`."""
        return self.server.describe()

    def close(self) -> None:
        """Close connections and threads."""
        self.server.close()

    async def aclose(self) -> None:
        """Close connections and threads, those of the running event loop too."""
        await self.server.aclose()

    def _endpoints(self, recognition: Recognition) -> list[Endpoint]:
        form = cast("Embeds", recognition.form)
        encoding_format = self._encoding_format
        if encoding_format == "auto":
            encoding_format = "base64" if self._model_has_base64 and form.base64 else "float"

        def body(texts: Sequence[str]) -> Body:
            return form.body(self._model, texts, encoding_format, self._dimensions)

        base_url = recognition.base_url
        return [Endpoint(base_url, path, "texts", body, self._read, self.server.usage) for path in form.paths(base_url)]

    def _read(self, reply: Any, count: int, url: str) -> Float32:
        rows = read_embeddings(reply, count, url, self.size)
        with self._lock:  # several first replies may come at once, and must agree
            size = self.size = self.size or rows.shape[1]
        return rows if rows.shape[1] == size else read_embeddings(reply, count, url, size)
