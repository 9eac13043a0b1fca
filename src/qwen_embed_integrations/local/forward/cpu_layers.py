"""A model's layers replaced by equal ones that a CPU computes faster.

What follows a product is done with it or in its place, attention over packed sequences leaves numbers in the order the
products left them in, and the last layer leaves out what nobody asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from qwen_embed_integrations.local.architectures import FAMILIES, Family
from qwen_embed_integrations.local.forward.attention import PACKED
from qwen_embed_integrations.local.forward.cpu_attention import blocked_attention

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_embed_integrations.local.forward.cpu_linear import Activation, FastLinear
    from qwen_embed_integrations.local.forward.layout import Layout

    # Makes a layer that does more than a product, given which linear layers are fastest; None where it cannot.
    Making = Callable[[Any, type[FastLinear]], nn.Module | None]


def fuse(model: Any, linear: type[FastLinear]) -> None:
    """Replace a model's layers; the code around them stays.

    Args:
        model: One of transformers, on a CPU and in its precision; it is changed, and can only be run from then on.
        linear: Which linear layers are fastest there.
    """
    family = FAMILIES.get(model.config.model_type) or Family("")
    makings = {family.prefix + name: making for name, making in _MAKINGS[family.layers].items()}
    _replace(model, makings, linear, {})
    if family.layers is not None:
        _cut_short(model.encoder.layer if family.layers == "bert" else model.layers)


def _replace(
    module: nn.Module, makings: dict[str, Making], linear: type[FastLinear], made: dict[nn.Module, nn.Module]
) -> None:
    # With repetitions, which `named_children` leaves out: a layer may stand in two places.
    for name, child in list(module._modules.items()):  # noqa: SLF001
        if child is None:
            continue
        if child not in made:
            faster = _faster(child, makings, linear)
            if faster is None:
                _replace(child, makings, linear, made)
            made[child] = faster or child
        setattr(module, name, made[child])


def _faster(module: nn.Module, makings: dict[str, Making], linear: type[FastLinear]) -> nn.Module | None:
    if type(module) is nn.Linear:
        return linear(module)
    making = makings.get(type(module).__name__)
    # What holds quantized or adapted layers is left to compute with them.
    plain = all(type(child) is nn.Linear for name, child in module.named_children() if name.endswith(_PRODUCTS))
    return making(module, linear) if making is not None and plain else None


# What the layers to be replaced call their products.
_PRODUCTS = ("dense", "_proj", "query", "key", "value")


def _cut_short(layers: nn.ModuleList) -> None:
    """Let the last layer leave out the states that nobody asks for, if its attention can."""
    last: Any = layers[-1] if layers else None
    if isinstance(getattr(last, "self_attn", None), _RotaryAttention):
        layers[-1] = _LastLayer(last, before=last.input_layernorm)
    elif isinstance(getattr(getattr(last, "attention", None), "self", None), _SelfAttention):
        layers[-1] = _LastLayer(last, before=nn.Identity())


class _LastLayer(nn.Module):
    """The last layer over packed sequences: of the states that nobody asks for, only keys and values are computed.

    Args:
        layer: The layer, whose attention takes what is read apart from what asks.
        before: What the layer does to states before they are read.
    """

    def __init__(self, layer: nn.Module, before: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.before = before

    def forward(self, states: torch.Tensor, *args: Any, layout: Layout, **more: Any) -> torch.Tensor:
        read = None
        if layout.wanted is not None:
            layout.cut = True
            read, states = self.before(states), states[:, layout.wanted_tokens]
        out: torch.Tensor = self.layer(states, *args, layout=layout, read=read, **more)
        return out


class _Output(nn.Module):
    """BERT's linear layer, residual and norm."""

    def __init__(self, module: Any, linear: type[FastLinear]) -> None:
        super().__init__()
        self.dense = linear(module.dense)
        self.LayerNorm = module.LayerNorm

    def forward(self, states: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.LayerNorm(self.dense.with_other(states, residual, "add"))
        return out


class _SelfAttention(nn.Module):
    """BERT's attention over packed sequences."""

    def __init__(self, module: Any, linear: type[FastLinear]) -> None:
        super().__init__()
        self.query, self.key, self.value = (linear(each) for each in (module.query, module.key, module.value))
        self._size = module.attention_head_size
        self._scale = module.scaling

    def forward(
        self, hidden_states: torch.Tensor, *, layout: Layout, read: torch.Tensor | None = None, **_: Any
    ) -> tuple[torch.Tensor, None]:
        query = self.query(hidden_states[0])
        states = (hidden_states if read is None else read)[0]
        query, key, value = (
            part.unflatten(-1, (-1, self._size)) for part in (query, self.key(states), self.value(states))
        )
        out = blocked_attention(query, key, value, layout, self._scale, causal=False, one_each=read is not None)
        return out.flatten(1).unsqueeze(0), None


class _GatedMlp(nn.Module):
    """Qwen's feed-forward layer."""

    def __init__(self, module: Any, linear: type[FastLinear]) -> None:
        super().__init__()
        self.gate = linear(module.gate_proj, then="swish")
        self.up = linear(module.up_proj)
        self.down = linear(module.down_proj)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.down(self.up.with_other(states, self.gate(states), "mul"))
        return out


class _RotaryAttention(nn.Module):
    """Qwen's attention over packed sequences."""

    def __init__(self, module: Any, linear: type[FastLinear]) -> None:
        super().__init__()
        self.query, self.key, self.value = (linear(each) for each in (module.q_proj, module.k_proj, module.v_proj))
        self.out = linear(module.o_proj)
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
        query = self.query(hidden_states[0])
        states = (hidden_states if read is None else read)[0]
        query, key, value = (
            part.unflatten(-1, (-1, self._size)) for part in (query, self.key(states), self.value(states))
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


def _is_packed(module: Any) -> bool:
    # transformers has no public name for it.
    return getattr(getattr(module, "config", None), "_attn_implementation", None) == PACKED


# Any other attention is left to the model, and so to what refuses it.
def _self_attention(module: Any, linear: type[FastLinear]) -> nn.Module | None:
    plain = getattr(module, "is_causal", None) is False and hasattr(module, "scaling")
    return _SelfAttention(module, linear) if _is_packed(module) and plain else None


def _rotary_attention(module: Any, linear: type[FastLinear]) -> nn.Module | None:
    plain = module.is_causal and getattr(module, "sliding_window", "unknown") is None
    return _RotaryAttention(module, linear) if _is_packed(module) and plain else None


def _intermediate(module: Any, linear: type[FastLinear]) -> nn.Module | None:
    then = _activation(getattr(module, "intermediate_act_fn", None))
    return None if then is None else linear(module.dense, then=then)


def _gated_mlp(module: Any, linear: type[FastLinear]) -> nn.Module | None:
    return _GatedMlp(module, linear) if _activation(getattr(module, "act_fn", None)) == "swish" else None


def _activation(module: Any) -> Activation | None:
    """Return what `FastLinear` calls an activation of transformers; None for those it does not know."""
    return _ACTIVATIONS.get(type(module).__name__)


# What follows a product, by the class that transformers computes it with.
_ACTIVATIONS: dict[str, Activation] = {
    "GELUActivation": "gelu",
    "ReLU": "relu",
    "SiLU": "swish",
    "SiLUActivation": "swish",
}

# By what follows the family's prefix in a class's name.
_MAKINGS: dict[str | None, dict[str, Making]] = {
    None: {},
    "bert": {
        "SelfAttention": _self_attention,
        "Intermediate": _intermediate,
        "Output": _Output,
        "SelfOutput": _Output,
    },
    "qwen": {
        "Attention": _rotary_attention,
        "MLP": _gated_mlp,
        "RMSNorm": lambda module, _: _RMSNorm(module),
    },
}
