"""Reranking over HTTP, in the form each server wants it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.served.endpoint import Endpoint
from qwen_embed_integrations.served.replies import read_scores
from qwen_embed_integrations.served.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from qwen_embed_integrations.engine import Batch, Usage
    from qwen_embed_integrations.options import ServedOptions
    from qwen_embed_integrations.served.dialects.base import Body, Reranks
    from qwen_embed_integrations.served.recognition import Recognition


class ServedRerankEngine:
    """Scores documents against a query over HTTP.

    Attributes:
        server: Where the model runs.
    """

    def __init__(self, model: str, options: ServedOptions, *, default_instruction: str | None) -> None:
        self.server = Server(model, "rerank", options)
        self._model = model
        self._default_instruction = default_instruction

    def rerank(self, query: str, documents: Sequence[str], instruction: str | None) -> Iterator[Batch]:
        """Yield scores in parts."""
        return self.server.run(documents, partial(self._endpoints, query, instruction))

    def arerank(self, query: str, documents: Sequence[str], instruction: str | None) -> AsyncGenerator[Batch, None]:
        """Yield scores in parts."""
        return self.server.arun(documents, partial(self._endpoints, query, instruction))

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

    def _endpoints(self, query: str, instruction: str | None, recognition: Recognition) -> list[Endpoint]:
        form = cast("Reranks", recognition.form)
        sent = self._sendable(instruction, recognition)

        def body(documents: Sequence[str]) -> Body:
            return form.body(self._model, query, documents, sent)

        base_url, usage = recognition.base_url, self.server.usage
        paths = form.paths(base_url, recognition.info)
        return [Endpoint(base_url, path, "documents", body, read_scores, usage) for path in paths]

    def _sendable(self, instruction: str | None, recognition: Recognition) -> str | None:
        """Return what is sent as the instruction.

        Raises:
            InvalidInputError: If it would be lost on the way, and scores be those of another.
        """
        fate = cast("Reranks", recognition.form).instruction(recognition.info)
        if fate == "sent":
            return instruction
        name = " ".join(filter(None, (recognition.dialect.title, recognition.info.version)))
        if fate == "lost" and instruction:
            raise InvalidInputError(
                f"`instruction` is {instruction!r}, but {name} passes none on to its rerankers. Serve the model with "
                "SGLang or vLLM, or pass instruction='' to go without.",
                parameter="instruction",
            )
        if fate == "template" and instruction not in {None, self._default_instruction}:
            raise InvalidInputError(
                f"`instruction` is {instruction!r}, but {name} passes none on: the server puts one of its own into the "
                "prompt. Leave `instruction` out, change the server's template, or point `base_url` at a server of "
                "SGLang or vLLM itself.",
                parameter="instruction",
            )
        return None
