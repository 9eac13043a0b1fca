"""Reranking over HTTP, in the forms servers want it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.served.connection import Request
from qwen_embed_integrations.served.engine import ServedEngine
from qwen_embed_integrations.served.flows import Talk, settle
from qwen_embed_integrations.served.replies import read_scores

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

    from qwen_embed_integrations.engine import Batch
    from qwen_embed_integrations.served.connection import Flow
    from qwen_embed_integrations.served.flows import Item
    from qwen_embed_integrations.vectors import Floats

Dialect = Literal["sglang", "vllm", "tei", "cohere"]
Body = dict[str, Any]


def sglang_body(model: str, query: str, documents: Sequence[str], instruction: str | None) -> Body:
    """SGLang: `instruct` from 0.5.8 on; older versions ignore it."""
    body: Body = {"model": model, "query": query, "documents": list(documents), "return_documents": False}
    return body if instruction is None else body | {"instruct": instruction}


def vllm_body(model: str, query: str, documents: Sequence[str], instruction: str | None) -> Body:
    """Build vLLM's form: `instruction`, handed to the chat template."""
    body: Body = {"model": model, "query": query, "documents": list(documents)}
    return body if instruction is None else body | {"instruction": instruction}


def tei_body(_model: str, query: str, documents: Sequence[str], instruction: str | None) -> Body:
    """Build TEI's form: `texts`, one model, no instruction.

    Raises:
        InvalidInputError: If there is an instruction, which would be lost.
    """
    if instruction:
        raise InvalidInputError(
            f"`instruction` is {instruction!r}, but text-embeddings-inference passes none on to its rerankers. Serve "
            "the model with SGLang or vLLM, or pass instruction='' to go without.",
            parameter="instruction",
        )
    return {"query": query, "texts": list(documents), "raw_scores": False, "return_text": False}


def cohere_body(model: str, query: str, documents: Sequence[str], instruction: str | None) -> Body:
    """Build the form most others share; the instruction goes under both names in use, as each ignores the other's."""
    body = sglang_body(model, query, documents, instruction)
    return body if instruction is None else body | {"instruction": instruction}


_BODIES: dict[Dialect, Callable[[str, str, Sequence[str], str | None], Body]] = {
    "sglang": sglang_body,
    "vllm": vllm_body,
    "tei": tei_body,
    "cohere": cohere_body,
}


class ServedRerankEngine(ServedEngine):
    """Scores documents against a query over HTTP."""

    task = "rerank"

    def __init__(self, model: str, *, dialect: Literal["auto", Dialect], **settings: Any) -> None:
        if dialect != "auto" and dialect not in _BODIES:
            raise InvalidInputError(
                f"`dialect` is {dialect!r}; it must be 'auto', {', '.join(map(repr, _BODIES))}.", parameter="dialect"
            )
        super().__init__(model, **settings)
        self._dialect = dialect

    def rerank(self, query: str, documents: Sequence[str], instruction: str | None) -> Iterator[Batch]:
        """Yield scores in parts."""
        return self.run(documents, partial(self._flow, query, instruction))

    def arerank(self, query: str, documents: Sequence[str], instruction: str | None) -> AsyncGenerator[Batch, None]:
        """Yield scores in parts."""
        return self.arun(documents, partial(self._flow, query, instruction))

    def _flow(self, query: str, instruction: str | None, items: Sequence[Item]) -> Flow[list[Batch]]:
        server = yield from self.server(needed=self._dialect == "auto")
        dialect: Dialect = (
            self._dialect if self._dialect != "auto" else "cohere" if server.kind == "unknown" else server.kind
        )
        # TEI alone has its rerank route at the root.
        path = f"{self.connection.root_url}/rerank" if dialect == "tei" else "rerank"

        def ask(texts: Sequence[str]) -> Request:
            return Request(path, _BODIES[dialect](self.model, query, texts, instruction))

        def read(reply: bytes, count: int) -> Floats:
            return read_scores(self.parse(reply, path), count, self.connection.url(path))

        return (yield from settle(items, Talk(ask, read, self.long_text, "documents")))
