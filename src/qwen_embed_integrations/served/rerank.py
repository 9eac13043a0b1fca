"""Reranking over HTTP, in the form each server wants it."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, cast

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.served.engine import ServedEngine
from qwen_embed_integrations.served.flow import Request
from qwen_embed_integrations.served.replies import read_scores
from qwen_embed_integrations.served.splitting import Talk, settle

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from qwen_embed_integrations.engine import Batch
    from qwen_embed_integrations.options import ServedOptions
    from qwen_embed_integrations.served.dialects.base import Reranks
    from qwen_embed_integrations.served.flow import Flow
    from qwen_embed_integrations.served.splitting import Item
    from qwen_embed_integrations.vectors import Floats


class ServedRerankEngine(ServedEngine):
    """Scores documents against a query over HTTP."""

    task = "rerank"

    def __init__(self, model: str, options: ServedOptions, *, default_instruction: str | None) -> None:
        super().__init__(model, options)
        self._default_instruction = default_instruction

    def rerank(self, query: str, documents: Sequence[str], instruction: str | None) -> Iterator[Batch]:
        """Yield scores in parts."""
        # Before the documents go out, or each of their requests would ask.
        if documents and not self.server.is_known:
            list(self.connection.run([self.server.ask(needed=True)]))
        yield from self.run(documents, partial(self._flow, query, instruction))

    async def arerank(
        self, query: str, documents: Sequence[str], instruction: str | None
    ) -> AsyncGenerator[Batch, None]:
        """Yield scores in parts."""
        if documents and not self.server.is_known:
            [_ async for _ in self.connection.arun([self.server.ask(needed=True)])]
        async with aclosing(self.arun(documents, partial(self._flow, query, instruction))) as batches:
            async for batch in batches:
                yield batch

    @property
    def _form(self) -> Reranks:
        return cast("Reranks", self.server.form)

    def _flow(self, query: str, instruction: str | None, items: Sequence[Item]) -> Flow[list[Batch]]:
        sent = self._sendable(instruction)
        return (
            yield from self.somewhere(
                lambda: self._form.paths(self.connection.base_url, self.server.info),
                partial(self._settle, items, query, sent),
            )
        )

    def _settle(self, items: Sequence[Item], query: str, instruction: str | None, path: str) -> Flow[list[Batch]]:
        def ask(texts: Sequence[str]) -> Request:
            return Request(path, self._form.body(self.model, query, texts, instruction))

        def read(reply: bytes, count: int) -> Floats:
            return read_scores(self.parse(reply, path), count, self.connection.url(path))

        return settle(items, Talk(ask, read, "documents", self))

    def _sendable(self, instruction: str | None) -> str | None:
        """Return what is sent as the instruction.

        Raises:
            InvalidInputError: If it would be lost on the way, and scores be those of another.
        """
        server = self.server.info
        way = self._form.instruction(server)
        if way == "sent":
            return instruction
        name = " ".join(filter(None, (self.server.dialect.title, server.version)))
        if way == "lost" and instruction:
            raise InvalidInputError(
                f"`instruction` is {instruction!r}, but {name} passes none on to its rerankers. Serve the model with "
                "SGLang or vLLM, or pass instruction='' to go without.",
                parameter="instruction",
            )
        if way == "template" and instruction not in {None, self._default_instruction}:
            raise InvalidInputError(
                f"`instruction` is {instruction!r}, but {name} passes none on: the server puts one of its own into the "
                "prompt. Leave `instruction` out, change the server's template, or point `base_url` at a server of "
                "SGLang or vLLM itself.",
                parameter="instruction",
            )
        return None
