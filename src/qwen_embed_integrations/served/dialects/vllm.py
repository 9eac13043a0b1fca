"""vLLM. Read in the wheels of 0.8.5 to 0.32; 0.32 recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_embed_integrations.served.dialects.base import Body, Dialect, Instruction, Reranks, is_since, text, whole
from qwen_embed_integrations.server_info import ServerInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_embed_integrations.served.flow import Flow
    from qwen_embed_integrations.served.questions import Questions
    from qwen_embed_integrations.server_info import Task

# What it is asked to embed and to rank where only that tells what it is for.
_WORD = "hello"


def recognise(questions: Questions) -> Flow[bool]:
    """Ask whether it is vLLM."""
    return (yield from questions.owner()) == "vllm"


def describe(questions: Questions) -> Flow[ServerInfo]:
    """Ask what it runs."""
    listed = yield from questions.listed()
    version = text((yield from questions.hint("/version")).get("version"))
    model = text(listed.get("id"))
    return ServerInfo(
        kind="vllm",
        version=version,
        task=(yield from _task(questions, model, version)) if listed else None,
        model=model,
        max_tokens=whole(listed.get("max_model_len")),
    )


def _task(questions: Questions, model: str | None, version: str | None) -> Flow[Task | None]:
    # From 0.16 on it mounts only the routes that its model can serve; before, all of them.
    current = is_since(version, (0, 16))
    task = (yield from _by_routes(questions)) if current else None
    if not current or (version is None and task == "embed"):
        task = (yield from _by_answers(questions, model, version)) or task
    return task


def _by_routes(questions: Questions) -> Flow[Task | None]:
    embeds = yield from questions.exists("/v1/embeddings")
    if embeds:
        return "embed"
    # A text generator has neither.
    return "rerank" if embeds is False and (yield from questions.exists("/v1/rerank")) else None


def _by_answers(questions: Questions, model: str | None, version: str | None) -> Flow[Task | None]:
    # Until 0.9.0 a reranker gave something for an embedding, and no embedding model reranked. Since then a reranker
    # does not embed, and an embedding model reranks by cosine.
    if is_since(version, (0, 9, 1)):
        said = yield from questions.ask("/v1/embeddings", {"model": model, "input": [_WORD]})
        if said.get("data"):
            return "embed"
        if "does not support" not in str(said):  # which comes with status 200
            return None
    said = yield from questions.ask("/v1/rerank", rerank_body(model or "", _WORD, [_WORD], None))
    return "rerank" if said.get("results") else None


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
    advice={
        "embed": "If that is wrong, pass dialect=ServerInfo(kind='vllm', version='...', task='embed').",
        "rerank": "vLLM would answer with plain cosine similarities. If that is wrong, pass "
        "dialect=ServerInfo(kind='vllm', version='...', task='rerank').",
    },
)
