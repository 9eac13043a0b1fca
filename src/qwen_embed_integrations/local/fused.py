"""A model's layers replaced by equal ones that a CPU computes faster: what follows a product is done with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from qwen_embed_integrations.local.attention import PACKED
from qwen_embed_integrations.local.blocks import blocked_attention
from qwen_embed_integrations.local.families import FAMILIES, Family
from qwen_embed_integrations.local.prepacked import PrepackedLinear, can_prepack

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_embed_integrations.local.layout import Layout

    # Layers that do more than a product, by the name of the class they take the place of.
    Fused = dict[str, Callable[[Any, str], nn.Module | None]]


def fuse(model: Any) -> None:
    """Replace a model's layers by equal ones that a CPU computes faster, where that can be; the code around them stays.

    Args:
        model: One of transformers, on its device and in its precision; it is changed, and can only be run from then on.
    """
    if can_prepack(model.device, model.dtype):
        family = FAMILIES.get(model.config.model_type) or Family("")
        fused = {family.prefix + name: made for name, made in _FUSED[family.layers].items()}
        _replace(model, fused, str(getattr(model.config, "hidden_act", "")), {})
        if family.layers is not None:
            _cut_short(_layers(model))


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
        return PrepackedLinear(module)
    made = fused.get(type(module).__name__)
    # What holds quantized or adapted layers is left to compute with them.
    plain = all(type(child) is nn.Linear for name, child in module.named_children() if name.endswith(_PRODUCTS))
    return made(module, activation) if made is not None and plain else None


# What the layers to be fused call their products.
_PRODUCTS = ("dense", "_proj", "query", "key", "value")


def _layers(model: Any) -> nn.ModuleList:
    found: nn.ModuleList = model.encoder.layer if hasattr(model, "encoder") else model.layers
    return found


def _cut_short(layers: nn.ModuleList) -> None:
    """Let the last layer leave out the states that nobody asks for, if its attention can."""
    if not layers:
        return
    last: Any = layers[-1]
    if isinstance(getattr(last, "self_attn", None), _RotaryAttention):
        layers[-1] = _LastLayer(last, before=last.input_layernorm)
    elif isinstance(getattr(getattr(last, "attention", None), "self", None), _SelfAttention):
        layers[-1] = _LastLayer(last, before=nn.Identity())


class _LastLayer(nn.Module):
    """The last layer over packed sequences: of the states that nobody asks for, only keys and values are computed.

    Args:
        layer: The layer, whose attention takes what it reads apart from what asks.
        before: What the layer does to states before it attends.
    """

    def __init__(self, layer: nn.Module, before: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.before = before

    def forward(self, states: torch.Tensor, *args: Any, layout: Layout, **more: Any) -> torch.Tensor:
        if layout.wanted is None:
            read = None
        else:
            layout.cut = True
            read, states = self.before(states), states[:, layout.wanted_tokens]
        out: torch.Tensor = self.layer(states, *args, layout=layout, read=read, **more)
        return out


class _Output(nn.Module):
    """BERT's linear layer, residual and norm."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.dense = PrepackedLinear(module.dense)
        self.LayerNorm = module.LayerNorm

    def forward(self, states: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.LayerNorm(self.dense.with_other(states, residual, "add"))
        return out


class _SelfAttention(nn.Module):
    """BERT's attention over packed sequences."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.query, self.key, self.value = (PrepackedLinear(each) for each in (module.query, module.key, module.value))
        self._size = module.attention_head_size
        self._scale = module.scaling

    def forward(
        self,
        hidden_states: torch.Tensor,
        *,
        layout: Layout,
        read: torch.Tensor | None = None,
        **_: Any,
    ) -> tuple[torch.Tensor, None]:
        states = hidden_states if read is None else read
        query, key, value = (
            layer(part[0]).unflatten(-1, (-1, self._size))
            for layer, part in ((self.query, hidden_states), (self.key, states), (self.value, states))
        )
        out = blocked_attention(query, key, value, layout, self._scale, causal=False, one_each=read is not None)
        return out.flatten(1).unsqueeze(0), None


class _GatedMlp(nn.Module):
    """Qwen's feed-forward layer."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.gate = PrepackedLinear(module.gate_proj, then="swish")
        self.up = PrepackedLinear(module.up_proj)
        self.down = PrepackedLinear(module.down_proj)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.down(self.up.with_other(states, self.gate(states), "mul"))
        return out


class _RotaryAttention(nn.Module):
    """Qwen's attention over packed sequences: what lies between its products stays in the order they left it in."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.query, self.key, self.value = (
            PrepackedLinear(each) for each in (module.q_proj, module.k_proj, module.v_proj)
        )
        self.out = PrepackedLinear(module.o_proj)
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
        read: torch.Tensor | None = None,
        **_: Any,
    ) -> tuple[torch.Tensor, None]:
        states = hidden_states if read is None else read
        query, key, value = (
            layer(part[0]).unflatten(-1, (-1, self._size))
            for layer, part in ((self.query, hidden_states), (self.key, states), (self.value, states))
        )
        turns = [each[0].unsqueeze(1) for each in position_embeddings]
        asking = turns if read is None else [each[layout.wanted_tokens] for each in turns]
        query, key = _rotated(self.query_norm(query), *asking), _rotated(self.key_norm(key), *turns)
        causal, one_each = is_causal is not False, read is not None
        attended = blocked_attention(query, key, value, layout, self._scale, causal=causal, one_each=one_each)
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
    return PrepackedLinear(module.dense, then=activation) if activation in {"gelu", "relu"} else None


def _is_packed(module: Any) -> bool:
    # transformers has no public name for it.
    return getattr(getattr(module, "config", None), "_attn_implementation", None) == PACKED


# Any other attention is left to the model, and so to what refuses it.
def _self_attention(module: Any, _: str) -> nn.Module | None:
    plain = getattr(module, "is_causal", None) is False and hasattr(module, "scaling")
    return _SelfAttention(module) if _is_packed(module) and plain else None


def _attention(module: Any, _: str) -> nn.Module | None:
    plain = module.is_causal and getattr(module, "sliding_window", "unknown") is None
    return _RotaryAttention(module) if _is_packed(module) and plain else None


def _mlp(module: Any, activation: str) -> nn.Module | None:
    return _GatedMlp(module) if activation == "silu" else None


# By what follows the family's prefix in a class's name.
_FUSED: dict[str | None, Fused] = {
    None: {},
    "bert": {
        "Intermediate": _intermediate,
        "SelfAttention": _self_attention,
        "Output": lambda module, _: _Output(module),
        "SelfOutput": lambda module, _: _Output(module),
    },
    "qwen": {
        "Attention": _attention,
        "MLP": _mlp,
        "RMSNorm": lambda module, _: _RMSNorm(module),
    },
}
