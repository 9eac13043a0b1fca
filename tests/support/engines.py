"""A small engine that embeds and reranks by the words two texts share, and remembers what was done with it."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

import numpy as np

from qwen_embed_integrations.engine import Batch, Usage
from qwen_embed_integrations.errors import ModelOutputError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

SIZE = 64
LONGEST = 100


class WordsEngine:
    """Each word of a text adds one to a place that its hash picks; texts of over `LONGEST` characters are cut."""

    def __init__(self) -> None:
        self.identity: dict[str, str | None] = {"model": "words", "revision": None}
        self.size: int | None = SIZE
        self.usage = Usage()
        self.closed = 0

    def describe(self) -> dict[str, str | int | None]:
        return {"device": "cpu", "dtype": "float32", "max_tokens": LONGEST}

    def embed(self, texts: Sequence[str]) -> Iterator[Batch]:
        if self.closed:
            raise ModelOutputError("This model is closed.")
        for position, text in enumerate(texts):
            row = np.full((1, SIZE), 1e-3, np.float32)
            words = re.findall(r"\w+", text[:LONGEST].lower())
            for word in words:
                row[0, zlib.crc32(word.encode()) % SIZE] += 1
            self.usage += Usage(tokens=len(words))
            yield Batch([position], row, shortened=[position] if len(text) > LONGEST else [])

    async def aembed(self, texts: Sequence[str]) -> AsyncGenerator[Batch, None]:
        for batch in self.embed(texts):
            yield batch

    def rerank(self, query: str, documents: Sequence[str], instruction: str | None) -> Iterator[Batch]:  # noqa: ARG002 the protocol
        (asked,) = (batch.values[0] for batch in self.embed([query]))
        for batch in self.embed(documents):
            yield Batch(batch.positions, batch.values @ asked, batch.shortened)

    async def arerank(
        self, query: str, documents: Sequence[str], instruction: str | None
    ) -> AsyncGenerator[Batch, None]:
        for batch in self.rerank(query, documents, instruction):
            yield batch

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.close()
