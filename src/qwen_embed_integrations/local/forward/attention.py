"""Attention over sequences laid end to end, for transformers' own models.

transformers lets an attention function be registered by name and passes unknown keyword arguments of a model's
`forward` down to it. That is all packing needs: the model's code runs over one long row without padding, and this
function keeps the sequences apart.
"""

from __future__ import annotations

import inspect
from functools import cache, partial
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers import AttentionInterface

from qwen_embed_integrations.errors import ModelLoadError
from qwen_embed_integrations.local.forward.cpu_attention import blocked_attention

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_embed_integrations.local.forward.layout import Layout

PACKED = "qwen_embed_packed"
# What some models hand to attention functions beside queries, keys and values, and this one does not support.
_UNSUPPORTED = ("sliding_window", "softcap", "s_aux", "position_bias")


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
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Attend within each sequence of a packed row.

    Args:
        query: Shape `(1, heads, tokens, head size)`; keys and values may have fewer heads.
        layout: Where the sequences lie; reaches this function as a keyword argument of the model's `forward`.

    Returns:
        Shape `(1, tokens, heads, head size)`, as transformers expects, and no weights.

    Raises:
        ModelLoadError: If the model attends in a way of its own.
    """
    unsupported = [name for name in _UNSUPPORTED if more.get(name) is not None]
    if unsupported:
        raise ModelLoadError(f"{type(module).__name__} attends with {', '.join(unsupported)}, so it cannot run packed.")
    causal = bool(getattr(module, "is_causal", False)) if is_causal is None else is_causal
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    # From here on as (tokens, heads, head size), the way the products before left them in memory.
    query, key, value = (part[0].transpose(0, 1) for part in (query, key, value))
    if query.device.type == "cuda" and _flash_takes(query):
        out = _on_cuda(query, key, value, layout, scale, causal=causal)
    else:
        out = blocked_attention(query, key, value, layout, scale, causal=causal)
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
    layout.honoured = True
    longest = max(layout.shared, *layout.lengths)
    asking = read = layout.query_bounds
    if layout.shared:
        indices, read = layout.keys
        key, value = key[indices], value[indices]
    # Causal masks are aligned at the end: the last query reads the last key, and all that is shared.
    window = (-1, 0) if causal else (-1, -1)
    attend, longest_read = _varlen_attn(), longest + layout.shared
    out = attend(query, key, value, asking, read, longest, longest_read, scale=scale, window_size=window)
    return cast("torch.Tensor", out)


def _flash_takes(query: torch.Tensor) -> bool:
    """Tell whether the kernel is built for this card, precision and head size (PyTorch's flash_api.cpp)."""
    half = query.dtype in {torch.float16, torch.bfloat16}
    return half and query.shape[-1] % 8 == 0 and query.shape[-1] <= 256 and _is_ampere(query.device)  # noqa: PLR2004


@cache
def _is_ampere(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device) >= (8, 0)


@cache
def _varlen_attn() -> Callable[..., Any]:
    from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415 built for CUDA only

    # Since 2.12 fewer heads for keys must be announced; 2.11 takes them unannounced.
    announced = "enable_gqa" in inspect.signature(varlen_attn).parameters
    return partial(varlen_attn, enable_gqa=True) if announced else varlen_attn


AttentionInterface.register(PACKED, packed_attention)
