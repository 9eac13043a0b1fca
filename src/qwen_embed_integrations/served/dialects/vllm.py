"""vLLM. Read in the wheels of 0.8.5 to 0.32; 0.32 recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qwen_embed_integrations.served.address import root_of
from qwen_embed_integrations.served.dialects.base import Body, Dialect, Instruction, Reranks, is_since, text, whole
from qwen_embed_integrations.served.dialects.examination import (
    Causes,
    Examination,
    Remedies,
    ScorePrompts,
    SelfReport,
    Tokenize,
)
from qwen_embed_integrations.server_info import ServerInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_embed_integrations.profiles import Pooling
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
    version = text((yield from questions.ask("/version")).get("version"))
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
        reply = yield from questions.ask("/v1/embeddings", {"model": model, "input": [_WORD]})
        if reply.get("data"):
            return "embed"
        if "does not support" not in str(reply):  # which comes with status 200
            return None
    reply = yield from questions.ask("/v1/rerank", rerank_body(model or "", _WORD, [_WORD], None))
    return "rerank" if reply.get("results") else None


def rerank_body(model: str, query: str, documents: Sequence[str], instruction: str | None) -> Body:
    """Build vLLM's form: `instruction`, handed to the chat template."""
    body: Body = {"model": model, "query": query, "documents": list(documents)}
    return body if instruction is None else body | {"instruction": instruction}


def _instruction(server: ServerInfo) -> Instruction:
    # The field came with 0.22.0, chat templates for rerankers with 0.14.0.
    if is_since(server.version, (0, 22)):
        return "sent"
    return "template" if is_since(server.version, (0, 14)) else "lost"


def report(questions: Questions) -> Flow[SelfReport]:
    """Ask which model is behind a name that may be an alias."""
    yield from questions.hint("/v1/models")
    return SelfReport(root=text((yield from questions.listed()).get("root")))


def classify_bodies(model: str, prompts: Sequence[Sequence[int]], _labels: Sequence[int]) -> list[Body]:
    """Build a request for the reranker's classes of prompts."""
    return [{"model": model, "input": prompts}]


def read_classes(reply: Any) -> list[Any]:
    """Return the probability of each prompt's last class, which for a reranker is its only one."""
    rows = reply.get("data") if isinstance(reply, dict) else None
    classes = [row.get("probs") if isinstance(row, dict) else None for row in rows or []]
    return [
        probabilities[-1] if isinstance(probabilities, list) and probabilities else None for probabilities in classes
    ]


def start_embedder(model: str, pooling: Pooling | None) -> str:
    """Return the command that serves an embedding model whose vectors may be cut."""
    command = f"""vllm serve {model} --runner pooling --convert embed --hf-overrides '{{"is_matryoshka": true}}'"""
    return command if pooling is None else f"""{command} --pooler-config '{{"pooling_type": "{pooling.upper()}"}}'"""


def start_reranker(model: str, template: str) -> str:
    """Return the command that serves Qwen3-Reranker."""
    overrides = (
        '{"architectures": ["Qwen3ForSequenceClassification"], "classifier_from_token": ["no", "yes"], '
        '"is_original_qwen3_reranker": true}'
    )
    return f"vllm serve {model} --runner pooling --hf-overrides '{overrides}' --chat-template {template}"


EXAMINATION = Examination(
    report=report,
    tokenize=Tokenize(),
    score_prompts=ScorePrompts(
        path=lambda base_url: f"{root_of(base_url)}/classify", bodies=classify_bodies, read=read_classes
    ),
)
CAUSES = Causes(
    started_to_embed="It was started with --convert embed.",
    missing_route="It was started as a text generator, or for the other task: vLLM mounts what the model can do.",
    queue_full="Its queue is bounded by --max-num-queued-reqs.",
    instruction_ignored="The template has no {{ instruction }}, or vLLM is older than the field.",
    template_nearly_right="Jinja drops the last newline of a template file. Scores move a little.",
    scores_reversed='Scores are upside down. On vLLM "classifier_from_token" must be ["no", "yes"], in that order.',
)
REMEDIES = Remedies(
    engine="vllm",
    start_embedder=start_embedder,
    start_reranker=start_reranker,
    batch_width_flag="--max-num-seqs",
    dtype_flag="--dtype bfloat16",
    matryoshka_flag="--hf-overrides",
    tokenizer_flag="--tokenizer",
)
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
    examination=EXAMINATION,
    causes=CAUSES,
    remedies=REMEDIES,
)
