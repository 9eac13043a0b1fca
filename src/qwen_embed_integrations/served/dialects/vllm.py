"""vLLM. Read in the wheels of 0.8 to 0.32; 0.32 recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_embed_integrations.served.dialects.base import Body, Dialect, Instruction, Reranks, is_since, text, whole
from qwen_embed_integrations.served.server_info import ServerInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_embed_integrations.served.connection import Flow
    from qwen_embed_integrations.served.questions import Questions
    from qwen_embed_integrations.served.server_info import Task


def recognise(questions: Questions) -> Flow[bool]:
    """Ask whether it is vLLM."""
    return (yield from questions.owner()) == "vllm"


def describe(questions: Questions) -> Flow[ServerInfo]:
    """Ask what it runs."""
    listed = yield from questions.listed()
    version = text((yield from questions.hint("/version")).get("version"))
    task: Task | None = None
    # From 0.16 on it mounts only the routes that its model can serve; before, all of them.
    if listed and is_since(version, (0, 16)):
        embeds = yield from questions.exists("/v1/embeddings")
        if embeds:
            task = "embed"
        elif embeds is False and (yield from questions.exists("/v1/rerank")):  # a text generator has neither
            task = "rerank"
    return ServerInfo(
        kind="vllm",
        version=version,
        task=task,
        model=text(listed.get("id")),
        max_tokens=whole(listed.get("max_model_len")),
    )


def rerank_body(model: str, query: str, documents: Sequence[str], instruction: str | None) -> Body:
    """Build vLLM's form: `instruction`, handed to the chat template."""
    body: Body = {"model": model, "query": query, "documents": list(documents)}
    return body if instruction is None else body | {"instruction": instruction}


def _instruction(server: ServerInfo) -> Instruction:
    # The field came with 0.22.0, chat templates for rerankers with 0.14.0.
    if is_since(server.version, (0, 22)):
        return "sent"
    return "template" if is_since(server.version, (0, 14)) else "lost"


DIALECT = Dialect(
    name="vllm",
    title="vLLM",
    recognise=recognise,
    describe=describe,
    reranks=Reranks(body=rerank_body, instruction=_instruction),
    advice={"rerank": "vLLM would answer with plain cosine similarities."},
)
