"""SGLang 0.5.3 to 0.5.23.

`/model_info` and `/server_info` are there from 0.5.6, before that only as `/get_…`. Read in the wheels of 0.5.3,
0.5.6, 0.5.10 and 0.5.23; the last recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qwen_embed_integrations.served.dialects.base import (
    Body,
    Dialect,
    Embeds,
    Instruction,
    Reranks,
    flag,
    instruct_body,
    is_since,
    text,
    texts,
    whole,
)
from qwen_embed_integrations.served.dialects.examination import (
    Causes,
    Examination,
    GeneratorRefusal,
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


def recognise(questions: Questions) -> Flow[bool]:
    """Ask whether it is SGLang."""
    owner = yield from questions.owner()
    # Behind a proxy that hides the list of models, the rest may still be seen.
    return owner == "sglang" or (owner is None and "is_generation" in (yield from questions.ask("/model_info")))


def describe(questions: Questions) -> Flow[ServerInfo]:
    """Ask what it runs."""
    listed = yield from questions.listed()
    model_info, server_info = (yield from questions.ask("/model_info")), "/server_info"
    if "is_generation" not in model_info:
        model_info, server_info = (yield from questions.ask("/get_model_info")), "/get_server_info"
    # Slow while the scheduler is busy, so never waited for.
    started = yield from questions.hint(server_info)
    embedding = model_info.get("embedding")
    return ServerInfo(
        kind="sglang",
        version=text(started.get("version")),
        task=task_of(model_info),
        model=text(model_info.get("model_path")) or text(listed.get("id")),
        # Every text of a list counts against the queue, and a list that does not fit is refused as a whole.
        max_batch=whole(started.get("max_queued_requests")),
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
    return "rerank" if any(str(name).endswith("ForSequenceClassification") for name in architectures) else "embed"


def _instruction(server: ServerInfo) -> Instruction:
    # Older versions do not know Qwen3-Reranker, nor any field but query and documents.
    return "sent" if is_since(server.version, (0, 5, 8)) else "lost"


def report(questions: Questions) -> Flow[SelfReport]:
    """Ask what it says about itself."""
    model = (yield from questions.hint("/model_info")) or (yield from questions.hint("/get_model_info"))
    # This one holds the whole command line, keys included: single fields are taken, the rest is dropped.
    started = (yield from questions.hint("/server_info")) or (yield from questions.hint("/get_server_info"))
    return SelfReport(
        model_path=text(model.get("model_path")),
        architectures=texts(model.get("architectures")),
        generates=flag(model.get("is_generation")),
        memory_tokens=whole(started.get("max_total_num_tokens")),
        cuts_texts=flag(started.get("allow_auto_truncate")),
        quantization=text(started.get("quantization")),
    )


def score_bodies(model: str, prompts: Sequence[Sequence[int]], labels: Sequence[int]) -> list[Body]:
    """Build requests for the probabilities of labels after prompts.

    A request has one query before all its items: the first token, where all prompts share it.
    """
    shared = all(prompt[:1] == prompts[0][:1] for prompt in prompts)
    return [
        {
            "model": model,
            "query": together[0][:1],
            "items": [prompt[1:] for prompt in together],
            "label_token_ids": labels,
            "apply_softmax": True,
        }
        for together in ([prompts] if shared else [[prompt] for prompt in prompts])
    ]


def read_probabilities(reply: Any) -> list[Any]:
    """Return the probability of the first label after each prompt."""
    rows = reply.get("scores") if isinstance(reply, dict) else None
    return [row[0] if isinstance(row, list) and row else None for row in rows or []]


def start_embedder(model: str, _pooling: Pooling | None) -> str:
    """Return the command that serves Qwen3-Embedding; it always pools such a model from the last token."""
    matryoshka = """--json-model-override-args '{"is_matryoshka": true}'"""
    return f"sglang serve --model-path {model} --is-embedding {matryoshka}"


def start_reranker(model: str, template: str) -> str:
    """Return the command that serves Qwen3-Reranker."""
    return f"sglang serve --model-path {model} --chat-template {template}"


EXAMINATION = Examination(
    report=report,
    # Under /v1 from 0.5.6 on.
    tokenize=Tokenize(path=lambda _: "tokenize"),
    score_prompts=ScorePrompts(path=lambda _: "score", bodies=score_bodies, read=read_probabilities, wants_labels=True),
    generator_refusal=GeneratorRefusal(
        message="does not appear to be an embedding model",
        embedder_cause="It was started without --is-embedding, which Qwen3-Embedding needs: its architecture, "
        "Qwen3ForCausalLM, is a generator's.",
        reranker_found="SGLang answers rerank requests with 400 and says to add --is-embedding. For a Qwen3-Reranker "
        "that is a false lead.",
        reranker_cause="No chat template is loaded, so SGLang takes the model for a cross-encoder.",
    ),
)
CAUSES = Causes(
    started_to_embed="--is-embedding was given.",
    base64_ignored="SGLang does so before 0.5.17.",
    dimensions_ignored="SGLang does so up to 0.5.4.",
    text_too_long_for_memory="SGLang 0.5.23 checks a text's length against the context only.",
    long_text_cut="--allow-auto-truncate is on.",
    queue_full="Its queue is bounded by --max-queued-requests, which counts texts, not requests.",
    instruction_ignored="The template has no {{ instruct }}, SGLang is older than 0.5.8, or sglang-router is in "
    "between, which drops the field.",
    top_n_ignored="SGLang does so before 0.5.8.",
)
REMEDIES = Remedies(
    start_embedder=start_embedder,
    start_reranker=start_reranker,
    restart_if_rerank_refused=True,
    update="Update SGLang.",
    batch_width_flag="--max-running-requests",
    dtype_flag="--dtype bfloat16",
    matryoshka_flag="--json-model-override-args",
    more_memory=lambda tokens: (
        f"Restart with --context-length {tokens - 8}, or with more memory: --mem-fraction-static."
    ),
    tokenizer_flag="--tokenizer-path",
)
DIALECT = Dialect(
    name="sglang",
    title="SGLang",
    recognise=recognise,
    describe=describe,
    embeds=Embeds(),
    reranks=Reranks(body=instruct_body, instruction=_instruction),
    advice={"rerank": "Qwen3-Reranker is served with its chat template and without --is-embedding."},
    examination=EXAMINATION,
    causes=CAUSES,
    remedies=REMEDIES,
)
