"""SGLang's command line for a model, and the router's."""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.serving.command import Command, Flag
from qwen_embed_integrations.serving.memory import PREFILL_TOKENS, share
from qwen_embed_integrations.serving.refusals import elsewhere

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_embed_integrations.serving.engines import Engine
    from qwen_embed_integrations.serving.settings import Settings
    from qwen_embed_integrations.serving.target import Target

TEMPLATE = "qwen3_reranker.jinja"

_ENCODERS = {"bert", "roberta", "xlm-roberta"}
_UNKNOWN_TO_IT = {"jina_bert": "JinaBERT", "deberta-v2": "DeBERTa", "modernbert": "ModernBERT"}


def build(target: Target, engine: Engine, settings: Settings) -> Command:
    """Build the command that serves a model with SGLang.

    Args:
        target: What is served.
        engine: The SGLang that is installed, or the newest known one.
        settings: What the caller chose.

    Returns:
        The command.

    Raises:
        InvalidInputError: If this version cannot serve the model, or not as asked.
    """
    _refuse(target, engine)
    serves = engine.at_least(0, 5, 5)  # before, there was no `sglang serve`
    program = engine.program("sglang", "sglang.launch_server")
    if not serves:
        program = (engine.python or "python", "-m", "sglang.launch_server")
    elif program[-1] != "sglang.launch_server":
        program = (*program, "serve")
    on_cpu = settings.device == "cpu"
    flags = [Flag("--model-path", target.model)]
    flags += _model(target, settings)
    flags += _task(target)
    flags += _memory(target, settings)
    flags += _processor(target, engine, settings)
    flags += _address(settings)
    if settings.replicas > 1 and not settings.router:
        flags.append(Flag("--dp-size", str(settings.replicas), "a copy of the model on each GPU, one address"))
    # Read before any option: without it SGLang looks for a GPU while it is imported.
    return Command(program, tuple(flags), {"SGLANG_USE_CPU_ENGINE": "1"} if on_cpu else {})


def _refuse(target: Target, engine: Engine) -> None:
    if not engine.at_least(0, 5, 3):
        raise InvalidInputError(
            f"{engine.title} is older than what this package knows. Run: {engine.python} -m pip install -U sglang",
            parameter="engine",
        )
    if target.architecture in _UNKNOWN_TO_IT:
        raise elsewhere(target, f"SGLang has no {_UNKNOWN_TO_IT[target.architecture]}")
    if target.prompted is not None:
        if target.prompted.true_token != "yes":  # noqa: S105 a token of text
            raise elsewhere(target, 'SGLang compares "yes" with "no", which is not what this reranker answers')
        if not engine.at_least(0, 5, 8):
            raise InvalidInputError(
                f"{engine.title} cannot score with Qwen3-Reranker: 0.5.8 is the first that can. "
                f"Run: {engine.python} -m pip install -U sglang",
                parameter="engine",
            )
    if target.task == "embed" and target.pooling is not None:
        pools = "cls" if target.architecture in _ENCODERS else "last"
        if target.pooling != pools:
            raise elsewhere(target, f"SGLang would pool this model by {pools!r}, and it wants {target.pooling!r}")


def _model(target: Target, settings: Settings) -> Iterator[Flag]:
    if settings.served_model_name:
        yield Flag("--served-model-name", settings.served_model_name)
    if settings.revision:
        yield Flag("--revision", settings.revision)
    if settings.context_length:
        yield Flag("--context-length", str(settings.context_length), "longer texts are refused")
    dtype = settings.dtype or ("float32" if settings.device == "cpu" else None)
    if dtype:
        yield Flag("--dtype", dtype, "" if settings.dtype else "the plain CPU path is slow in halves")
    if target.can_be_cut:
        yield Flag(
            "--json-model-override-args",
            json.dumps({"is_matryoshka": True}),
            "its vectors may be cut, which its config.json does not say; without this `dimensions` is a 400",
        )


def _task(target: Target) -> Iterator[Flag]:
    if target.prompted is not None:
        template = resources.files("qwen_embed_integrations.serving") / TEMPLATE
        yield Flag(
            "--chat-template",
            str(template),
            "Qwen's own words to the letter; the template that SGLang ships lacks the empty thinking block. "
            "And no --is-embedding, since it answers yes or no",
        )
        yield Flag(
            "--schedule-policy", "lpm", "documents of one query wait for the beginning they share, computed once"
        )
        return
    why = (
        "a cross-encoder's head is read like an embedding"
        if target.task == "rerank"
        else "its vectors are wanted; its architecture alone would make it a text generator"
        if target.architecture not in _ENCODERS
        else "its vectors are wanted, pooled from the first token"
    )
    yield Flag("--is-embedding", reason=why)
    yield Flag("--disable-radix-cache", reason="texts share no beginning worth keeping; same text, same vector")
    yield Flag("--chunked-prefill-size", "-1", "a text is pooled once it is read, so it is read in one go")


def _memory(target: Target, settings: Settings) -> Iterator[Flag]:
    on_cpu = settings.device == "cpu"
    part = share(target, settings.free, context=settings.context_length, bytes_per_number=4 if on_cpu else 2)
    if settings.memory_fraction is not None:
        yield Flag("--mem-fraction-static", f"{settings.memory_fraction:g}")
    else:
        yield Flag("--mem-fraction-static", f"{part.fraction:g}", part.reason)
    if on_cpu:
        yield Flag("--max-total-tokens", str(part.tokens), "a fraction alone would claim memory that programs need")
    if target.prompted is None:
        longest = max(settings.context_length or target.context or 0, PREFILL_TOKENS)
        yield Flag("--max-prefill-tokens", str(longest), "tokens of one forward pass: room for the longest text")


def _processor(target: Target, engine: Engine, settings: Settings) -> Iterator[Flag]:
    if settings.device == "cpu":
        yield Flag("--device", "cpu")
        amx = settings.amx and engine.cpu_kernels
        yield Flag(
            "--attention-backend",
            "intel_amx" if amx else "torch_native",
            "this CPU has AMX" if amx else "needs no kernels compiled for this CPU",
        )
    elif target.architecture in _ENCODERS or (target.task == "rerank" and not target.architecture):
        yield Flag("--attention-backend", "triton", "encoders read in both directions, which others do not do")


def _address(settings: Settings) -> Iterator[Flag]:
    yield Flag("--host", settings.host)
    yield Flag("--port", str(settings.port))
    if settings.api_key_env:
        yield Flag("--api-key", settings.api_key_env, secret=True)
