"""Embeddings over OpenAI's API, as SGLang, vLLM, TEI and others speak it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from qwen_embed_integrations.errors import EndpointNotFoundError, InvalidInputError
from qwen_embed_integrations.served.connection import Request
from qwen_embed_integrations.served.engine import ServedEngine
from qwen_embed_integrations.served.flows import Talk, settle
from qwen_embed_integrations.served.replies import read_embeddings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from qwen_embed_integrations.engine import Batch
    from qwen_embed_integrations.profiles import ModelProfile
    from qwen_embed_integrations.served.connection import Flow
    from qwen_embed_integrations.served.flows import Item
    from qwen_embed_integrations.vectors import Float32

PATH = "embeddings"


class ServedEmbeddingEngine(ServedEngine):
    """Turns finished texts into vectors over HTTP.

    Attributes:
        identity: What the vectors depend on beside prompts and dimensions.
        size: Size of a reply's vectors; None before the first reply where no profile tells.
    """

    task = "embed"

    def __init__(
        self,
        model: str,
        profile: ModelProfile,
        *,
        dimensions: int | None,
        batch_size: int,
        encoding_format: Literal["auto", "base64", "float"],
        **settings: Any,
    ) -> None:
        if encoding_format not in {"auto", "base64", "float"}:
            raise InvalidInputError(
                f"`encoding_format` is {encoding_format!r}; it must be 'auto', 'base64' or 'float'.",
                parameter="encoding_format",
            )
        super().__init__(model, batch_size=batch_size, **settings)
        self.batch_size = min(batch_size, profile.max_batch or batch_size)
        self.identity: dict[str, str | None] = {"model": model}
        self.size = dimensions or profile.dimensions
        self._dimensions = dimensions
        if encoding_format == "auto":
            encoding_format = "base64" if profile.base64 else "float"
        self._encoding_format = encoding_format

    def embed(self, texts: Sequence[str]) -> Iterator[Batch]:
        """Yield vectors in parts."""
        return self.run(texts, self._flow)

    def aembed(self, texts: Sequence[str]) -> AsyncGenerator[Batch, None]:
        """Yield vectors in parts."""
        return self.arun(texts, self._flow)

    def _flow(self, items: Sequence[Item]) -> Flow[list[Batch]]:
        try:
            batches = yield from settle(items, Talk(self._ask, self._read, self.long_text, "texts"))
        except EndpointNotFoundError:
            yield from self.server()  # vLLM mounts no such endpoint for a reranker
            raise
        # Asked after the first reply, so that a server that is down is tried, and reported, only once.
        yield from self.server()
        return batches

    def _ask(self, texts: Sequence[str]) -> Request:
        # Strings only: token ids would be read with the server's own vocabulary, silently.
        body: dict[str, Any] = {"model": self.model, "input": list(texts), "encoding_format": self._encoding_format}
        if self._dimensions is not None:
            body["dimensions"] = self._dimensions
        return Request(PATH, body)

    def _read(self, reply: bytes, count: int) -> Float32:
        said, url = self.parse(reply, PATH), self.connection.url(PATH)
        rows = read_embeddings(said, count, url, self.size)
        with self._lock:  # several first replies may come at once, and must agree
            size = self.size = self.size or rows.shape[1]
        return rows if rows.shape[1] == size else read_embeddings(said, count, url, size)
