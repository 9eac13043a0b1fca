"""How much memory a server is given, so that an embedder and a reranker fit on one card."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.profiles import PROFILES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_embed_integrations.serve.options import ServeOptions
    from qwen_embed_integrations.serve.target import Target

_GIB = 1024**3
_MIN_FRACTION, _MAX_FRACTION = 0.1, 0.85
_STEP = 1024  # tokens that a length is rounded down to
# The caller's own options that change what lies on one device, by how they begin.
_CHANGES_OF_MEMORY = (
    "--quantization",
    "-q",
    "--torchao",
    "--cpu-offload",
    "--tensor",
    "--tp",
    "-tp",
    "--pipeline",
    "--pp",
    "-pp",
)
PREFILL_TOKENS = 16384
"""Tokens of one forward pass that keep a GPU busy, SGLang's own default."""


@dataclass(frozen=True)
class Share:
    """A share of a device's memory.

    Attributes:
        fraction: Between 0 and 1.
        tokens: Tokens whose keys and values find room in it.
        reason: How it came about.
    """

    fraction: float
    tokens: int
    reason: str


def longest_text(target: Target, options: ServeOptions) -> int | None:
    """Return the length in tokens that memory is worked out for; None where the engine knows better.

    Args:
        target: What is served.
        options: What the caller chose.

    Returns:
        The caller's choice, or what a model that keeps keys and values is made to read.
    """
    return options.context_length or (target.context if target.caches else None)


def require_room(target: Target, options: ServeOptions, extra: Sequence[str] = ()) -> None:
    """Refuse a model that the device cannot hold.

    Args:
        target: What is served.
        options: What the caller chose, with the memory there really is.
        extra: The caller's own options for the engine.

    Raises:
        InvalidInputError: If the weights, or the weights and one longest text, need more than there is.
    """
    if target.weights is None or any(word.startswith(_CHANGES_OF_MEMORY) for word in extra):
        return
    on_cpu = options.device == "cpu"
    scale = options.bytes_per_number / 2
    weights, per_token = target.weights * scale, target.kv_bytes * scale
    usable = min(options.free, options.total * (1 if on_cpu else options.memory_fraction or _MAX_FRACTION))
    available = (
        f"{options.free / _GIB:.1f} GiB of memory are free"
        if on_cpu
        else (f"{usable / _GIB:.1f} of the GPU's {options.total / _GIB:.1f} GiB can be used for it")
    )
    if weights > usable:
        raise InvalidInputError(
            f"`model` {target.model}: its weights alone need {weights / _GIB:.1f} GiB, and {available}. "
            f"{_alternatives(target, usable / scale, on_cpu=on_cpu)}",
            parameter="model",
        )
    longest = longest_text(target, options)
    room = int((usable - weights) / per_token)
    if not on_cpu and longest and longest > room:  # a CPU's pool is of our own size, and paged
        raise InvalidInputError(
            f"`model` {target.model}: beside {weights / _GIB:.1f} GiB of weights there is room for {room} tokens, "
            f"less than its longest text of {longest}: {available}. "
            + (f"Pass --context-length {room // _STEP * _STEP}, or a larger --memory-fraction." if room > _STEP else "")
            + ("" if room > _STEP else _alternatives(target, usable / scale, on_cpu=on_cpu)),
            parameter="model",
        )


def _alternatives(target: Target, usable: float, *, on_cpu: bool) -> str:
    """Return what to use in place of a model that is too large, for the message."""
    kind = type(target.profile)
    smaller = [
        profile
        for profile in PROFILES
        if isinstance(profile, kind)
        and profile.architecture == target.architecture
        and profile.parameters
        and profile.parameters * 2 < usable
    ]
    fits = max(smaller, key=lambda profile: profile.parameters or 0, default=None)
    alternatives = [f"{fits.name}, which fits" if fits else "a smaller model"]
    alternatives.append(
        "--dtype bfloat16, half of float32" if on_cpu else "a copy whose weights are in fp8 or four bits"
    )
    local = target.local_classes
    if local and not on_cpu:
        alternatives.append(f"a class in your own process with device='cpu' ({local})")
    return f"Use {', or '.join(alternatives)}. --replicas do not help: each holds the whole model."


def share(
    target: Target, memory: int, *, context: int | None, activations: int = 0, bytes_per_number: int = 2
) -> Share:
    """Work out the share of a device that a server needs.

    It holds the weights, and keys and values of the longest text beside one full forward pass.

    Args:
        target: What is served.
        memory: Bytes of the device.
        context: Most tokens of one text; None for the model's own.
        activations: Bytes for activations, where the engine counts them in.
        bytes_per_number: 2, or 4 where it computes in float32.

    Returns:
        The share.
    """
    longest = max(context or target.context or PREFILL_TOKENS, PREFILL_TOKENS)
    tokens = longest + PREFILL_TOKENS
    if target.weights is None:
        return Share(0.7, tokens, "the size of the weights is not known here; lower it with --memory-fraction")
    scale = bytes_per_number / 2
    weights, pool = target.weights * scale, tokens * target.kv_bytes * scale
    wanted = (weights + pool) * 1.1 + activations
    fraction = math.ceil(100 * wanted / memory) / 100
    reason = (
        f"{weights / _GIB:.1f} GiB of weights and {pool / _GIB:.1f} GiB for {tokens} tokens, of {memory / _GIB:.0f} "
        "GiB; the rest stays free for another server"
    )
    if fraction > _MAX_FRACTION:
        reason = f"all but what activations need: {weights / _GIB:.1f} GiB of weights on {memory / _GIB:.0f} GiB"
    return Share(min(max(fraction, _MIN_FRACTION), _MAX_FRACTION), tokens, reason)
