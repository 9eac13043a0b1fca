"""Attention over sequences laid end to end, for transformers' own models.

transformers lets an attention function be registered by name and passes unknown keyword arguments of a model's
`forward` down to it. That is all packing needs: the model's code runs over one long row without padding, and this
function keeps the sequences apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.nn import functional
from transformers import AttentionInterface

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKED = "qwen_embed_packed"


@dataclass(frozen=True)
class Layout:
    """Where each sequence lies in the row.

    Attributes:
        lengths: Tokens of each sequence, in order.
        starts: Where each begins.
        offsets: `starts` and the total, int32 on the device, for CUDA's kernel.
    """

    lengths: Sequence[int]
    starts: Sequence[int]
    offsets: torch.Tensor

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> Layout:
        """Lay sequences of these lengths end to end."""
        bounds = torch.tensor([0, *lengths]).cumsum(0)
        return cls(lengths, bounds[:-1].tolist(), bounds.to(device, torch.int32))


def packed_attention(  # noqa: D417 the rest is transformers' own signature
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # noqa: ARG001 transformers makes none for a function it does not know
    *,
    layout: Layout,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend within each sequence of a packed row.

    Args:
        query: Shape `(1, heads, tokens, head size)`; keys and values may have fewer heads.
        layout: Where the sequences lie; reaches this function as a keyword argument of the model's `forward`.

    Returns:
        Shape `(1, tokens, heads, head size)`, as transformers expects, and no weights.
    """
    causal = bool(getattr(module, "is_causal", False)) if is_causal is None else is_causal
    if query.device.type == "cuda" and query.dtype != torch.float32:
        return _on_cuda(query, key, value, layout, scaling, causal=causal), None
    grouped = query.shape[1] != key.shape[1]
    out = torch.empty_like(query.transpose(1, 2))
    for start, length in zip(layout.starts, layout.lengths, strict=True):
        own = slice(start, start + length)
        out[:, own] = functional.scaled_dot_product_attention(
            query[:, :, own],
            key[:, :, own],
            value[:, :, own],
            is_causal=causal and length > 1,
            scale=scaling,
            enable_gqa=grouped,
        ).transpose(1, 2)
    return out, None


def _on_cuda(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    layout: Layout,
    scaling: float | None,
    *,
    causal: bool,
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415 built for CUDA only

    longest = max(layout.lengths)
    repeats = query.shape[1] // key.shape[1]
    # The kernel wants (tokens, heads, head size).
    query, key, value = (part[0].transpose(0, 1).contiguous() for part in (query, key, value))
    if repeats > 1:
        key, value = (part.repeat_interleave(repeats, dim=1) for part in (key, value))
    window = (-1, 0) if causal else (-1, -1)
    bounds = layout.offsets
    out = varlen_attn(query, key, value, bounds, bounds, longest, longest, scale=scaling, window_size=window)
    return cast("torch.Tensor", out).unsqueeze(0)


AttentionInterface.register(PACKED, packed_attention)
