"""How much memory a server is given, so that an embedder and a reranker fit on one card."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qwen_embed_integrations.serving.target import Target

_GIB = 1024**3
_AT_LEAST, _AT_MOST = 0.1, 0.85
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


def share(target: Target, memory: int, *, context: int | None, beside: int = 0, bytes_per_number: int = 2) -> Share:
    """Work out the share of a device that a server needs.

    It holds the weights, and keys and values of the longest text beside one full forward pass.

    Args:
        target: What is served.
        memory: Bytes of the device.
        context: Most tokens of one text; None for the model's own.
        beside: Bytes that the engine counts in as well, for activations.
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
    wanted = (weights + pool) * 1.1 + beside
    fraction = math.ceil(100 * wanted / memory) / 100
    reason = (
        f"{weights / _GIB:.1f} GiB of weights and {pool / _GIB:.1f} GiB for {tokens} tokens, of {memory / _GIB:.0f} "
        "GiB; the rest stays free for another server"
    )
    if fraction > _AT_MOST:
        reason = f"all but what activations need: {weights / _GIB:.1f} GiB of weights on {memory / _GIB:.0f} GiB"
    return Share(min(max(fraction, _AT_LEAST), _AT_MOST), tokens, reason)
