"""SGLang's command line for a model, and the router's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

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
from qwen_embed_integrations.serve.memory import PREFILL_TOKENS, share

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_embed_integrations.profiles import Pooling
    from qwen_embed_integrations.serve.engines.installed import Engine
    from qwen_embed_integrations.serve.options import ServeOptions
    from qwen_embed_integrations.serve.target import Target

TEMPLATE = "qwen3_reranker.jinja"

_GEMMA = "embeddinggemma"
_ENCODERS = {"bert", "roberta", "xlm-roberta"}
# What pools by the first token in 0.5.23 (srt/models/bert.py, roberta.py, lfm2.py), by class, or by family where only
# that is known. EmbeddingGemma takes the mean (gemma3_causal.py); all else the last token, transformers' classes too.
_FIRST_TOKEN = {"BertModel", "Contriever", "XLMRobertaModel", "Lfm2BidirectionalModel"}
_FIRST_TOKEN_FAMILIES = {"bert", "xlm-roberta"}
_UNKNOWN_TO_IT = {"jina_bert": "JinaBERT", "deberta-v2": "DeBERTa", "modernbert": "ModernBERT"}


def build(target: Target, engine: Engine, options: ServeOptions) -> Command:
    """Build the command that serves a model with SGLang.

    Args:
        target: What is served.
        engine: The SGLang that is installed, or the newest known one.
        options: What the caller chose.

    Returns:
        The command.

    Raises:
        InvalidInputError: If this version cannot serve the model, or not as asked.
    """
    _refuse(target, engine, options)
    serves = engine.at_least(0, 5, 5)  # before, there was no `sglang serve`
    program = engine.program("sglang", "sglang.launch_server")
    if not serves:
        program = (engine.python or "python", "-m", "sglang.launch_server")
    elif program[-1] != "sglang.launch_server":
        program = (*program, "serve")
    on_cpu = options.device == "cpu"
    flags = [Flag("--model-path", target.model)]
    flags += _model(target, options)
    flags += _task(target)
    flags += _memory(target, options)
    flags += _processor(target, engine, options)
    flags += _address(options)
    if options.replicas > 1 and not options.router:
        flags.append(Flag("--dp-size", str(options.replicas), "a copy of the model on each GPU, one address"))
    # Read before any option: without it SGLang looks for a GPU while it is imported.
    return Command(program, tuple(flags), {"SGLANG_USE_CPU_ENGINE": "1"} if on_cpu else {})


def _refuse(target: Target, engine: Engine, options: ServeOptions) -> None:
    if not engine.at_least(0, 5, 3):
        raise InvalidInputError(
            f"{engine.title} is older than what this package knows. Run: {engine.python} -m pip install -U sglang",
            parameter="engine",
        )
    if target.architecture in _UNKNOWN_TO_IT:
        raise unservable(target, f"SGLang has no {_UNKNOWN_TO_IT[target.architecture]}")
    if target.prompted is not None:
        if target.prompted.true_token != "yes":  # noqa: S105 a token of text
            raise unservable(target, 'SGLang compares "yes" with "no", which is not what this reranker answers')
        if not engine.at_least(0, 5, 8):
            raise InvalidInputError(
                f"{engine.title} cannot score with Qwen3-Reranker: 0.5.8 is the first that can. "
                f"Run: {engine.python} -m pip install -U sglang",
                parameter="engine",
            )
    if target.task == "embed":
        _refuse_pooling(target, engine, options)


def _refuse_pooling(target: Target, engine: Engine, options: ServeOptions) -> None:
    pools = pools_by(target)
    if target.pooling not in {None, pools}:
        raise unservable(target, f"SGLang would pool this model by {pools!r}, and it wants {target.pooling!r}")
    if target.architecture != _GEMMA:
        if target.projects:
            raise unservable(target, "a dense layer follows its pooling, which SGLang leaves out")
    elif not engine.at_least(0, 5, 23):
        raise unservable(target, f"whether {engine.title} pools EmbeddingGemma as it wants is not known; 0.5.23 does")
    elif options.device == "cpu":  # seen with 0.5.23: its backends for CPUs know two directions of encoders alone
        raise unservable(target, "on a CPU SGLang reads it in one direction, and it wants both")


def pools_by(target: Target) -> Pooling:
    """Return how SGLang makes one vector of a text, whatever the model wants.

    Args:
        target: An embedding model.

    Returns:
        How SGLang 0.5.23 pools it.
    """
    if target.architecture == _GEMMA:
        return "mean"
    first = target.class_name in _FIRST_TOKEN if target.class_name else target.architecture in _FIRST_TOKEN_FAMILIES
    return "cls" if first else "last"


def _model(target: Target, options: ServeOptions) -> Iterator[Flag]:
    yield from model_flags(
        target, options, length_flag="--context-length", float32_reason="the plain CPU path is slow in halves"
    )
    if target.can_be_cut:
        yield Flag(
            "--json-model-override-args",
            json.dumps(MATRYOSHKA),
            MATRYOSHKA_REASON,
        )


def _task(target: Target) -> Iterator[Flag]:
    if target.prompted is not None:
        yield Flag(
            "--chat-template",
            template_path(TEMPLATE),
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
        if target.architecture and pools_by(target) == "last"
        else "its vectors are wanted, and nothing else"
    )
    yield Flag("--is-embedding", reason=why)
    yield Flag("--disable-radix-cache", reason="texts share no beginning worth keeping; same text, same vector")
    yield Flag("--chunked-prefill-size", "-1", "a text is pooled once it is read, so it is read in one go")


def _memory(target: Target, options: ServeOptions) -> Iterator[Flag]:
    on_cpu = options.device == "cpu"
    size = options.bytes_per_number
    part = share(target, options.free, context=options.context_length, bytes_per_number=size)
    if options.memory_fraction is not None:
        yield Flag("--mem-fraction-static", f"{options.memory_fraction:g}")
    else:
        yield Flag("--mem-fraction-static", f"{part.fraction:g}", part.reason)
    if on_cpu:
        yield Flag("--max-total-tokens", str(part.tokens), "a fraction alone would claim memory that programs need")
    if target.prompted is None:
        longest = max(options.context_length or target.context or 0, PREFILL_TOKENS)
        yield Flag("--max-prefill-tokens", str(longest), "tokens of one forward pass: room for the longest text")


def _processor(target: Target, engine: Engine, options: ServeOptions) -> Iterator[Flag]:
    if options.device == "cpu":
        yield Flag("--device", "cpu")
        amx = options.amx and engine.cpu_kernels
        yield Flag(
            "--attention-backend",
            "intel_amx" if amx else "torch_native",
            "this CPU has AMX" if amx else "needs no kernels compiled for this CPU",
        )
    elif target.architecture in {*_ENCODERS, _GEMMA}:
        yield Flag("--attention-backend", "triton", "encoders read in both directions, which others do not do")
    elif not target.architecture:
        yield Flag("--attention-backend", "triton", "reads in one direction or both, whichever this model wants")


def _address(options: ServeOptions) -> Iterator[Flag]:
    yield from address_flags(options)
    if options.api_key_env:
        yield Flag("--api-key", options.api_key_env, secret=True)
