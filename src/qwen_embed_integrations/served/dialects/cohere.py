"""Cohere's API, by the SDK cohere 7.3.1, and other servers that take its form of a rerank request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_embed_integrations.served.address import root_of
from qwen_embed_integrations.served.dialects.base import Body, Dialect, Instruction, Paths, Reranks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_embed_integrations.server_info import ServerInfo

_VERSION = "v2"


def _is_coheres_own(server: ServerInfo) -> bool:
    return server.version == _VERSION


def _paths(base_url: str, server: ServerInfo) -> Paths:
    if not _is_coheres_own(server) or base_url.endswith(f"/{_VERSION}"):
        return ("rerank",)
    return (f"{root_of(base_url)}/{_VERSION}/rerank",)


def _instruction(server: ServerInfo) -> Instruction:
    # Cohere's models take none; another server that speaks its form may.
    return "lost" if _is_coheres_own(server) else "sent"


def rerank_body(model: str, query: str, documents: Sequence[str], instruction: str | None) -> Body:
    """Build Cohere's form, with the instruction under the two names in use elsewhere."""
    body: Body = {"model": model, "query": query, "documents": list(documents)}
    return body if instruction is None else body | {"instruct": instruction, "instruction": instruction}


DIALECT = Dialect(
    name="cohere",
    title="Cohere's API",
    hosts=("api.cohere.com", "api.cohere.ai"),
    hosted_version=_VERSION,
    # Its /v2/embed wants the role of each text in a form of its own.
    embeds=None,
    # 10,000 documents at most, 1,000 advised.
    reranks=Reranks(paths=_paths, body=rerank_body, instruction=_instruction, max_batch=1000),
    advice={"embed": "Its /v2/embed has a form of its own. Use it for reranking, and embed elsewhere."},
)
