"""A server that is not known: OpenAI's form of an embedding request, and the form most rerankers share."""

from __future__ import annotations

from qwen_embed_integrations.served.dialects.base import Dialect, Reranks

DIALECT = Dialect(
    name="unknown",
    title="The server",
    # Nothing is known against it; the two names for an instruction are both tried.
    reranks=Reranks(instruction=lambda _: "sent"),
)
