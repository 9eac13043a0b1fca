"""LM Studio, by its documentation. It embeds and does not rerank."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_embed_integrations.served.dialects.base import Dialect, text, whole
from qwen_embed_integrations.server_info import ServerInfo

if TYPE_CHECKING:
    from qwen_embed_integrations.served.flow import Flow
    from qwen_embed_integrations.served.questions import Questions

# What it writes for the owner of every model.
_OWNER = "organization_owner"


def recognise(questions: Questions) -> Flow[bool]:
    """Ask whether it is LM Studio."""
    return (yield from questions.owner()) == _OWNER


def describe(questions: Questions) -> Flow[ServerInfo]:
    """Ask what the model is; the list with kinds and lengths is there from 0.3.6 on."""
    yield from questions.hint("/api/v0/models")
    entry = (yield from questions.listed("/api/v0/models")) or (yield from questions.listed())
    return ServerInfo(
        kind="lm_studio",
        task="embed" if entry.get("type") == "embeddings" else None,
        model=text(entry.get("id")),
        max_tokens=whole(entry.get("loaded_context_length")) or whole(entry.get("max_context_length")),
    )


DIALECT = Dialect(
    name="lm_studio",
    title="LM Studio",
    recognise=recognise,
    describe=describe,
    advice={"rerank": "Serve the reranker with SGLang, vLLM or llama.cpp."},
)
