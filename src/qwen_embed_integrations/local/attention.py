"""Attention over sequences laid end to end, for transformers' own models.

transformers lets an attention function be registered by name and passes unknown keyword arguments of a model's
`forward` down to it. That is all packing needs: the model's code runs over one long row without padding, and this
function keeps the sequences apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from transformers import AttentionInterface

from qwen_embed_integrations.local.blocks import blocked_attention

if TYPE_CHECKING:
    from qwen_embed_integrations.local.layout import Layout

PACKED = "qwen_embed_packed"


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
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if query.device.type == "cuda" and query.dtype != torch.float32:
        out = _on_cuda(query, key, value, layout, scale, causal=causal)
    else:
        out = blocked_attention(query[0], key[0], value[0], layout, scale, causal=causal)
    return out.unsqueeze(0), None


def _on_cuda(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    layout: Layout,
    scale: float,
    *,
    causal: bool,
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415 built for CUDA only

    longest = max(layout.shared, *layout.lengths)
    repeats = query.shape[1] // key.shape[1]
    # The kernel wants (tokens, heads, head size).
    query, key, value = (part[0].transpose(0, 1).contiguous() for part in (query, key, value))
    asked = read = layout.asking
    if layout.shared:
        indices, read = layout.read
        key, value = key[indices], value[indices]
    if repeats > 1:
        key, value = (part.repeat_interleave(repeats, dim=1) for part in (key, value))
    # Causal masks are aligned at the end: the last query reads the last key, and all that is shared.
    window = (-1, 0) if causal else (-1, -1)
    out = varlen_attn(query, key, value, asked, read, longest, longest + layout.shared, scale=scale, window_size=window)
    return cast("torch.Tensor", out)


AttentionInterface.register(PACKED, packed_attention)
