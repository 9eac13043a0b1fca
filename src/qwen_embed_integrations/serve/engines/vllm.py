"""vLLM's command line for a model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.serve.command_line import Command, Flag
from qwen_embed_integrations.serve.engines.flags import (
    MATRYOSHKA,
    MATRYOSHKA_REASON,
    address_flags,
    model_flags,
    template_path,
)
from qwen_embed_integrations.serve.engines.refusals import unservable
from qwen_embed_integrations.serve.memory import share

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_embed_integrations.profiles import RerankProfile
    from qwen_embed_integrations.serve.engines.installed import Engine
    from qwen_embed_integrations.serve.options import ServeOptions
    from qwen_embed_integrations.serve.target import Target

_GIB = 1024**3
_ACTIVATIONS = 2 * _GIB  # counted into its fraction, unlike SGLang's
_TEMPLATES = {"qwen3": "qwen3_reranker.jinja", "qwen2": "mxbai_rerank_v2.jinja"}
_CLASSES = {"qwen3": "Qwen3ForSequenceClassification", "qwen2": "Qwen2ForSequenceClassification"}
_UNKNOWN_TO_IT = {"jina_bert": "JinaBERT", "deberta-v2": "DeBERTa"}


def build(target: Target, engine: Engine, options: ServeOptions) -> Command:
    """Build the command that serves a model with vLLM.

    Args:
        target: What is served.
        engine: The vLLM that is installed, or the newest known one.
        options: What the caller chose.

    Returns:
        The command.

    Raises:
        InvalidInputError: If this version cannot serve the model, or not as asked.
    """
    _refuse(target, engine)
    script = engine.program("vllm", "vllm.entrypoints.cli.main")
    flags = [*_model(target, options), *_task(target), *_memory(target, options), *address_flags(options)]
    if options.replicas > 1:
        flags.append(Flag("--data-parallel-size", str(options.replicas), "a copy of the model on each GPU"))
    environment = {}
    if options.device == "cpu":
        size = options.bytes_per_number
        room = share(target, options.free, context=options.context_length, bytes_per_number=size)
        pool = room.tokens * target.kv_bytes * size // 2
        environment["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, -(-pool // _GIB)))
    # Read where no --api-key is given; unlike that, not to be seen in a list of processes.
    secrets = {"VLLM_API_KEY": options.api_key_env} if options.api_key_env else {}
    return Command((*script, "serve", target.model), tuple(flags), environment, secrets)


def _refuse(target: Target, engine: Engine) -> None:
    if not engine.at_least(0, 10, 1):
        raise InvalidInputError(
            f"{engine.title} is older than --runner pooling. Run: {engine.python} -m pip install -U vllm",
            parameter="engine",
        )
    if target.architecture in _UNKNOWN_TO_IT:
        raise unservable(target, f"vLLM has no {_UNKNOWN_TO_IT[target.architecture]}")
    if target.prompted is not None and not engine.at_least(0, 14):
        # https://github.com/vllm-project/vllm/pull/30550
        raise InvalidInputError(
            f"{engine.title} puts no template around a reranker's texts: 0.14 is the first that does. "
            f"Run: {engine.python} -m pip install -U vllm",
            parameter="engine",
        )


def _model(target: Target, options: ServeOptions) -> Iterator[Flag]:
    yield from model_flags(target, options, length_flag="--max-model-len")
    if options.device == "cpu":
        yield Flag("--enforce-eager", reason="a trial need not wait for minutes of compiling")
    overrides: dict[str, Any] = {}
    why = ""
    if target.can_be_cut:
        overrides |= MATRYOSHKA
        why = MATRYOSHKA_REASON
    if target.prompted is not None:
        overrides |= _head(target, target.prompted)
        why = "scores compare two rows of the language model's head"
    if overrides:
        yield Flag("--hf-overrides", json.dumps(overrides), why)


def _head(target: Target, profile: RerankProfile) -> dict[str, Any]:
    tokens = {"classifier_from_token": [profile.false_token, profile.true_token]}
    kind = target.architecture if target.architecture in _CLASSES else "qwen3"
    how = {"is_original_qwen3_reranker": True} if kind == "qwen3" else {"method": "from_2_way_softmax"}
    return {"architectures": [_CLASSES[kind]], **tokens, **how}


def _task(target: Target) -> Iterator[Flag]:
    yield Flag("--runner", "pooling", "vectors and scores, no text")
    if target.task == "embed":
        yield Flag("--convert", "embed", "its vectors are wanted, whatever its architecture could do")
        yield Flag(
            "--no-enable-prefix-caching", reason="texts share no beginning worth keeping; same text, same vector"
        )
    if target.prompted is not None:
        name = _TEMPLATES.get(target.architecture, _TEMPLATES["qwen3"])
        why = "the prompt it was trained with, to the letter"
        if name == _TEMPLATES["qwen3"]:
            why += "; the one in vLLM's examples is a newline short"
        yield Flag("--chat-template", template_path(name), why)
        yield Flag("--enable-prefix-caching", reason="documents of one query share its beginning")


def _memory(target: Target, options: ServeOptions) -> Iterator[Flag]:
    if options.memory_fraction is not None:
        yield Flag("--gpu-memory-utilization", f"{options.memory_fraction:g}")
    elif options.device != "cpu":
        size = options.bytes_per_number
        part = share(
            target, options.total, context=options.context_length, activations=_ACTIVATIONS, bytes_per_number=size
        )
        yield Flag("--gpu-memory-utilization", f"{part.fraction:g}", part.reason)
