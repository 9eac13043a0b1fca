"""A model's layers replaced by equal ones that a CPU computes faster.

What follows a product is done with it or in its place, attention over packed sequences leaves numbers in the order the
products left them in, and the last layer leaves out what nobody asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from qwen_embed_integrations.local.architectures import FAMILIES, Family
from qwen_embed_integrations.local.forward.attention import PACKED
from qwen_embed_integrations.local.forward.cpu_attention import blocked_attention, padded_tokens
from qwen_embed_integrations.local.forward.row_counts import padded, rounded_up

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qwen_embed_integrations.local.forward.cpu_linear import Activation, FastLinear
    from qwen_embed_integrations.local.forward.layout import Layout

    # Makes a layer that does more than a product out of one kind of linear layers; None where it cannot.
    Replacement = Callable[[Any, type[FastLinear]], nn.Module | None]


def fuse(model: Any, linear: type[FastLinear]) -> None:
    """Replace a model's layers; the code around them stays.

    Args:
        model: One of transformers, on a CPU and in its precision; it is changed, and can only be run from then on.
        linear: Which linear layers to take.
    """
    family = FAMILIES.get(model.config.model_type) or Family("")
    replacements = {family.prefix + name: replacement for name, replacement in _REPLACEMENTS[family.layers].items()}
    _replace(model, replacements, linear, {})
    if family.layers is not None:
        _wrap_ends(model.encoder.layer if family.layers == "bert" else model.layers)


def _replace(
    module: nn.Module, replacements: dict[str, Replacement], linear: type[FastLinear], done: dict[nn.Module, nn.Module]
) -> None:
    # With repetitions, which `named_children` leaves out: a layer may stand in two places.
    for name, child in list(module._modules.items()):  # noqa: SLF001
        if child is None:
            continue
        if child not in done:
            faster = _faster(child, replacements, linear)
            if faster is None:
                _replace(child, replacements, linear, done)
            done[child] = faster or child
        setattr(module, name, done[child])


def _faster(module: nn.Module, replacements: dict[str, Replacement], linear: type[FastLinear]) -> nn.Module | None:
    if type(module) is nn.Linear:
        return linear(module)
    replacement = replacements.get(type(module).__name__)
    # What holds quantized or adapted layers is left to compute with them.
    plain = all(type(child) is nn.Linear for name, child in module.named_children() if name.endswith(_PRODUCTS))
    return replacement(module, linear) if replacement is not None and plain else None


# What the layers to be replaced call their products.
_PRODUCTS = ("dense", "_proj", "query", "key", "value")


def _wrap_ends(layers: nn.ModuleList) -> None:
    """Round the rows of a pass up, and leave out what nobody asks for, if all attention can deal with both."""
    if not layers or not all(isinstance(_attention_of(layer), _Attention) for layer in layers):
        return
    last: Any = layers[-1]
    layers[-1] = _LastLayer(last, before=getattr(last, "input_layernorm", None) or nn.Identity())
    layers[0] = _FirstLayer(layers[0])


def _attention_of(layer: Any) -> Any:
    return getattr(layer, "self_attn", None) or getattr(getattr(layer, "attention", None), "self", None)


class _FirstLayer(nn.Module):
    """The first layer over packed sequences: rows of zeros come behind them, for the products' sake.

    Args:
        layer: The layer.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, states: torch.Tensor, *args: Any, layout: Layout, **more: Any) -> torch.Tensor:
        states = padded(states, padded_tokens(layout, states.dtype))
        out: torch.Tensor = self.layer(states, *args, layout=layout, **more)
        return out


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
        read, count = None, layout.shared + sum(layout.lengths)
        if layout.wanted is not None:
            layout.cut = True
            read, states, count = self.before(states), states[:, _wanted_tokens(layout)], len(layout.lengths)
        out: torch.Tensor = self.layer(states, *args, layout=layout, read=read, **more)
        return out[:, :count]


def _wanted_tokens(layout: Layout) -> torch.Tensor:
    """Return where the states are that are asked for, and as often the first row as there is to be padding."""
    wanted = layout.wanted_tokens
    return functional.pad(wanted, (0, rounded_up(len(wanted)) - len(wanted)))


class _Output(nn.Module):
    """BERT's linear layer, residual and norm."""

    def __init__(self, module: Any, linear: type[FastLinear]) -> None:
        super().__init__()
        self.dense = linear(module.dense)
        self.LayerNorm = module.LayerNorm

    def forward(self, states: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.LayerNorm(self.dense.with_other(states, residual, "add"))
        return out


class _Attention(nn.Module):
    """Attention over packed sequences, and the products before it.

    Args:
        products: Those of queries, keys and values.
        size: Size of a head.
        scale: Factor of the scores.
    """

    def __init__(self, products: Sequence[nn.Module], size: int, scale: float) -> None:
        super().__init__()
        self.query, self.key, self.value = products
        self._size = size
        self._scale = scale

    def _parts(
        self, asking: torch.Tensor, read: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return queries, keys and values by head; all of the same states unless others are read."""
        asking = asking[0]
        read = asking if read is None else read[0]
        parts = self.query(asking), self.key(read), self.value(read)
        query, key, value = (part.unflatten(-1, (-1, self._size)) for part in parts)
        return query, key, value


class _SelfAttention(_Attention):
    """BERT's."""

    def __init__(self, module: Any, linear: type[FastLinear]) -> None:
        products = [linear(product) for product in (module.query, module.key, module.value)]
        super().__init__(products, module.attention_head_size, module.scaling)

    def forward(
        self, hidden_states: torch.Tensor, *, layout: Layout, read: torch.Tensor | None = None, **_: Any
    ) -> tuple[torch.Tensor, None]:
        parts = self._parts(hidden_states, read)
        out = blocked_attention(*parts, layout, self._scale, causal=False, one_query=read is not None)
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


class _RotaryAttention(_Attention):
    """Qwen's."""

    def __init__(self, module: Any, linear: type[FastLinear]) -> None:
        products = [linear(product) for product in (module.q_proj, module.k_proj, module.v_proj)]
        super().__init__(products, module.head_dim, module.scaling)
        self.out = linear(module.o_proj)
        norms = (getattr(module, name, None) for name in ("q_norm", "k_norm"))
        self.query_norm, self.key_norm = (nn.Identity() if norm is None else _RMSNorm(norm) for norm in norms)

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
        query, key, value = self._parts(hidden_states, read)
        angles = [padded(part[0], len(key)).unsqueeze(1) for part in position_embeddings]
        of_queries = angles if read is None else [part[_wanted_tokens(layout)] for part in angles]
        query, key = _rotated(self.query_norm(query), *of_queries), _rotated(self.key_norm(key), *angles)
        causal, one_query = is_causal is not False, read is not None
        out = blocked_attention(query, key, value, layout, self._scale, causal=causal, one_query=one_query)
        return self.out(out.flatten(1)).unsqueeze(0), None


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
_REPLACEMENTS: dict[str | None, dict[str, Replacement]] = {
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
