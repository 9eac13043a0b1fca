"""SGLang 0.5.3 to 0.5.23.

`/model_info` and `/server_info` are there from 0.5.6, before that only as `/get_…`. Read in the wheels of 0.5.3,
0.5.6, 0.5.10 and 0.5.23; the last recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qwen_embed_integrations.served.dialects.base import (
    Dialect,
    Embeds,
    Instruction,
    Reranks,
    instruct_body,
    is_since,
    text,
    whole,
)
from qwen_embed_integrations.server_info import ServerInfo

if TYPE_CHECKING:
    from qwen_embed_integrations.served.flow import Flow
    from qwen_embed_integrations.served.questions import Questions
    from qwen_embed_integrations.server_info import Task


def recognise(questions: Questions) -> Flow[bool]:
    """Ask whether it is SGLang."""
    owner = yield from questions.owner()
    # Behind a proxy that hides the list of models, the rest may still be seen.
    return owner == "sglang" or (owner is None and "is_generation" in (yield from questions.ask("/model_info")))


def describe(questions: Questions) -> Flow[ServerInfo]:
    """Ask what it runs."""
    listed = yield from questions.listed()
    said, about_itself = (yield from questions.ask("/model_info")), "/server_info"
    if "is_generation" not in said:
        said, about_itself = (yield from questions.ask("/get_model_info")), "/get_server_info"
    # Slow while the scheduler is busy, so never waited for.
    itself = yield from questions.hint(about_itself)
    embedding = said.get("embedding")
    return ServerInfo(
        kind="sglang",
        version=text(itself.get("version")),
        task=task_of(said),
        model=text(said.get("model_path")) or text(listed.get("id")),
        # Every text of a list counts against the queue, and a list that does not fit is refused as a whole.
        max_batch=whole(itself.get("max_queued_requests")),
        max_tokens=whole(listed.get("max_model_len")),
        pooling=text(embedding.get("pooling")) if isinstance(embedding, dict) else None,
    )


def task_of(model_info: dict[str, Any]) -> Task | None:
    """Return what the model is for, by SGLang's account of it."""
    if "is_generation" not in model_info:
        return None
    if model_info["is_generation"]:
        return "rerank"
    architectures = model_info.get("architectures")
    if not isinstance(architectures, list):
        return None  # before 0.5.8 it does not say, and a cross-encoder looks like an embedding model
    return "rerank" if any(str(each).endswith("ForSequenceClassification") for each in architectures) else "embed"


def _instruction(server: ServerInfo) -> Instruction:
    # Older versions do not know Qwen3-Reranker, nor any field but query and documents.
    return "sent" if is_since(server.version, (0, 5, 8)) else "lost"


DIALECT = Dialect(
    name="sglang",
    title="SGLang",
    recognise=recognise,
    describe=describe,
    embeds=Embeds(),
    reranks=Reranks(body=instruct_body, instruction=_instruction),
    advice={"rerank": "Qwen3-Reranker is served with its chat template and without --is-embedding."},
)
