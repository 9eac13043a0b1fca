"""Layers for a CPU: weights kept in the order oneDNN multiplies them in, and what follows a product done with it.

The operators are those that `torch.compile` puts into frozen models; called directly, they need no compiler.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from qwen_embed_integrations.local.attention import PACKED
from qwen_embed_integrations.local.blocks import blocked_attention
from qwen_embed_integrations.local.families import FAMILIES, Family

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_embed_integrations.local.layout import Layout

    # Layers that do more than a product, by the name of the class they take the place of.
    Fused = dict[str, Callable[[Any, str], nn.Module | None]]


def can_prepack(device: torch.device, dtype: torch.dtype) -> bool:
    """Tell whether this torch offers it, on this processor."""
    return device.type == "cpu" and _works(dtype)


def prepack(model: Any) -> None:
    """Replace a model's layers by equal ones that a CPU computes faster, where that can be; the code around them stays.

    Args:
        model: One of transformers, on its device and in its precision; it is changed, and can only be run from then on.
    """
    if can_prepack(model.device, model.dtype):
        family = FAMILIES.get(model.config.model_type) or Family("")
        fused = {family.prefix + name: made for name, made in _FUSED[family.layers].items()}
        _replace(model, fused, str(getattr(model.config, "hidden_act", "")), {})


@lru_cache
def _works(dtype: torch.dtype) -> bool:
    # The operators are not public, so they are tried out.
    layer = nn.Linear(64, 32, dtype=dtype, device="meta").to_empty(device="cpu")  # draws no random numbers
    layer.weight.data.copy_(torch.linspace(-1, 1, 32 * 64).view(32, 64))
    layer.bias.data.fill_(1)
    rows = torch.ones(4, 64, dtype=dtype)
    with torch.inference_mode():
        try:
            expected = layer(rows)
            found = _Linear(layer)(rows)
        except (AttributeError, NotImplementedError, RuntimeError):
            return False
        return torch.allclose(found, expected, atol=0.05)


def _replace(module: nn.Module, fused: Fused, activation: str, made: dict[nn.Module, nn.Module]) -> None:
    # With repetitions, which `named_children` leaves out: a layer may stand in two places.
    for name, child in list(module._modules.items()):  # noqa: SLF001
        if child is None:
            continue
        if child not in made:
            faster = _faster(child, fused, activation)
            if faster is None:
                _replace(child, fused, activation, made)
            made[child] = faster or child
        setattr(module, name, made[child])


def _faster(module: nn.Module, fused: Fused, activation: str) -> nn.Module | None:
    if type(module) is nn.Linear:
        return _Linear(module)
    made = fused.get(type(module).__name__)
    # What holds quantized or adapted layers is left to compute with them.
    plain = all(type(child) is nn.Linear for name, child in module.named_children() if name.endswith(_PRODUCTS))
    return made(module, activation) if made is not None and plain else None


# What the layers to be fused call their products.
_PRODUCTS = ("dense", "_proj")


class _Linear(nn.Module):
    """A linear layer, and an activation behind it if one is named as oneDNN does."""

    def __init__(self, layer: nn.Linear, then: str = "none") -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.bias = layer.bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())  # noqa: SLF001 see _works
        del layer.weight  # before the next one is copied
        self._then = then

    @property
    def weight(self) -> torch.Tensor:
        """The weights in their usual order, for code that reads them."""
        dense: torch.Tensor = self._packed.to_dense()
        return dense

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        product = torch.ops.mkldnn._linear_pointwise.default  # noqa: SLF001 see _works
        out: torch.Tensor = product(states, self._packed, self.bias, self._then, [], "none")
        return out

    def with_other(self, states: torch.Tensor, other: torch.Tensor, operation: str) -> torch.Tensor:
        """Return the product with another tensor added (`"add"`) or multiplied (`"mul"`) to it."""
        # Named in full: to tell overloads apart, torch would print the tensors.
        product = torch.ops.mkldnn._linear_pointwise.binary  # noqa: SLF001 see _works
        out: torch.Tensor = product(states, other, self._packed, self.bias, operation)
        return out


class _Output(nn.Module):
    """BERT's linear layer, residual and norm."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.dense = _Linear(module.dense)
        self.LayerNorm = module.LayerNorm

    def forward(self, states: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.LayerNorm(self.dense.with_other(states, residual, "add"))
        return out


class _GatedMlp(nn.Module):
    """Qwen's feed-forward layer."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.gate = _Linear(module.gate_proj, then="swish")
        self.up = _Linear(module.up_proj)
        self.down = _Linear(module.down_proj)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.down(self.up.with_other(states, self.gate(states), "mul"))
        return out


class _RotaryAttention(nn.Module):
    """Qwen's attention over packed sequences: what lies between its products stays in the order they left it in."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.query, self.key, self.value = (_Linear(each) for each in (module.q_proj, module.k_proj, module.v_proj))
        self.out = _Linear(module.o_proj)
        norms = (getattr(module, name, None) for name in ("q_norm", "k_norm"))
        self.query_norm, self.key_norm = (nn.Identity() if norm is None else _RMSNorm(norm) for norm in norms)
        self._size = module.head_dim
        self._scale = module.scaling

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        *,
        layout: Layout,
        is_causal: bool | None = None,
        **_: Any,
    ) -> tuple[torch.Tensor, None]:
        query, key, value = (
            layer(hidden_states[0]).unflatten(-1, (-1, self._size)) for layer in (self.query, self.key, self.value)
        )
        cosine, sine = (each[0].unsqueeze(1) for each in position_embeddings)
        query, key = _rotated(self.query_norm(query), cosine, sine), _rotated(self.key_norm(key), cosine, sine)
        attended = blocked_attention(query, key, value, layout, self._scale, causal=is_causal is not False)
        return self.out(attended.flatten(1)).unsqueeze(0), None


def _rotated(heads: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Turn each pair of numbers by its token's angle; the second half of a head pairs with the first."""
    first, second = heads.chunk(2, -1)
    out = heads * cosine
    half = first.shape[-1]
    out[..., :half].addcmul_(second, sine[..., :half], value=-1)
    out[..., half:].addcmul_(first, sine[..., half:])
    return out


class _RMSNorm(nn.Module):
    """Root mean square norm, with one copy less of its input in float32."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.weight = module.weight
        self._epsilon = module.variance_epsilon

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        length = torch.linalg.vector_norm(states, dim=-1, keepdim=True, dtype=torch.float32)
        scale = length.square_().div_(states.shape[-1]).add_(self._epsilon).rsqrt_()
        # Rounded to bfloat16, the scale would be off for the whole row.
        out: torch.Tensor = (states * scale).to(states.dtype).mul_(self.weight)
        return out


def _intermediate(module: Any, activation: str) -> nn.Module | None:
    return _Linear(module.dense, then=activation) if activation in {"gelu", "relu"} else None


def _attention(module: Any, _: str) -> nn.Module | None:
    packed = module.config._attn_implementation == PACKED  # noqa: SLF001 transformers has no public name for it
    # Any other attention is left to the model, and so to what refuses it.
    plain = module.is_causal and getattr(module, "sliding_window", "unknown") is None
    return _RotaryAttention(module) if packed and plain else None


def _mlp(module: Any, activation: str) -> nn.Module | None:
    return _GatedMlp(module) if activation == "silu" else None


# By what follows the family's prefix in a class's name.
_FUSED: dict[str | None, Fused] = {
    None: {},
    "bert": {
        "Intermediate": _intermediate,
        "Output": lambda module, _: _Output(module),
        "SelfOutput": lambda module, _: _Output(module),
    },
    "qwen": {
        "Attention": _attention,
        "MLP": _mlp,
        "RMSNorm": lambda module, _: _RMSNorm(module),
    },
}
