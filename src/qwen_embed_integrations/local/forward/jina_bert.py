"""JinaBERT, the architecture of jina-embeddings-v2, which transformers 5 has no code for.

A BERT without positions, whose attention knows distances (ALiBi) and whose feed-forward layers are gated. Two layouts
of its layers are on the hub. The published code runs on transformers 4 only; this is written from its mathematics.
Module names are those of the weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors import safe_open
from torch import nn
from torch.nn import functional
from transformers import BertConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from qwen_embed_integrations.local.forward.alibi import alibi_attention
from qwen_embed_integrations.local.forward.attention import PACKED
from qwen_embed_integrations.local.forward.row_counts import padded, rounded_up

if TYPE_CHECKING:
    from typing_extensions import Self

    from qwen_embed_integrations.local.forward.layout import Layout

LayerLayout = Literal["standard", "qk_post_norm"]

# What the weights of a layer are called, and nothing beside them.
_ATTENTION = {
    f"attention.{name}.{kind}"
    for name in ("self.query", "self.key", "self.value", "output.dense", "output.LayerNorm")
    for kind in ("weight", "bias")
}
_LAYOUTS: dict[LayerLayout, set[str]] = {
    "standard": _ATTENTION
    | {"mlp.gated_layers.weight"}
    | {f"mlp.{name}.{kind}" for name in ("wo", "layernorm") for kind in ("weight", "bias")},
    "qk_post_norm": _ATTENTION
    | {"mlp.up_gated_layer.weight"}
    | {
        f"{name}.{kind}"
        for name in (
            "attention.self.layer_norm_q",
            "attention.self.layer_norm_k",
            "mlp.down_layer",
            "layer_norm_1",
            "layer_norm_2",
        )
        for kind in ("weight", "bias")
    },
}
# Whose code a config names: a third repository (that of jina-embeddings-v2-base-es) computes something else.
_CODE: dict[str, LayerLayout] = {
    "jinaai/jina-bert-implementation": "standard",
    "jinaai/jina-bert-v2-qk-post-norm": "qk_post_norm",
}
_ACTIVATIONS = {"geglu": functional.gelu, "reglu": functional.relu}


class JinaBertModel(PreTrainedModel):  # type: ignore[no-untyped-call]  # transformers' own metaclass work
    """JinaBERT over packed sequences.

    Args:
        config: A BERT's, with `feed_forward_type` and `layer_layout`.
    """

    config_class = BertConfig
    base_model_prefix = "bert"
    # The vector is a mean, so neither the pooler nor the masked language model's head is run.
    _keys_to_ignore_on_load_unexpected = [r"(^|\.)pooler\.", r"^cls\."]  # noqa: RUF012 transformers' own form

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.embeddings = _Embeddings(config)
        self.encoder = nn.Module()
        layer_class = {"standard": _Layer, "qk_post_norm": _QKPostNormLayer}[config.layer_layout]
        self.encoder.layer = nn.ModuleList(layer_class(config) for _ in range(config.num_hidden_layers))
        self.post_init()  # type: ignore[no-untyped-call]  # not typed in transformers

    @classmethod
    def from_pretrained(cls, folder: Any, *, state_dict: Any = None, **options: Any) -> Self:  # type: ignore[override]
        """Load a checkpoint, as transformers' own `from_pretrained` does.

        Args:
            folder: Where it lies.
            state_dict: Its weights, where they are read already.
            **options: Passed on.

        Raises:
            ValueError: If it is of a layout that is not known.
        """
        config = BertConfig.from_pretrained(folder)
        config.layer_layout = _read_layout(Path(folder), config)
        source = folder if state_dict is None else None
        model: Self = super().from_pretrained(
            source, config=config, state_dict=state_dict, attn_implementation=PACKED, **options
        )
        return model

    def forward(
        self,
        input_ids: torch.Tensor,
        token_type_ids: torch.Tensor,
        *,
        layout: Layout,
        **_: Any,
    ) -> BaseModelOutput:
        """Compute the last hidden states of sequences laid end to end.

        Args:
            input_ids: Shape `(1, tokens)`.
            token_type_ids: Shape `(1, tokens)`.
            layout: Where each sequence lies.

        Returns:
            `last_hidden_state` of shape `(1, tokens, size)`.
        """
        states = self.embeddings(input_ids[0], token_type_ids[0])
        tokens = len(states)
        if states.device.type == "cpu":
            states = padded(states, rounded_up(tokens))
        for layer in self.encoder.layer:  # type: ignore[union-attr]
            states = layer(states, layout)
        return BaseModelOutput(last_hidden_state=states[:tokens].unsqueeze(0))


class _Embeddings(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = _norm(config)

    def forward(self, ids: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = self.LayerNorm(self.word_embeddings(ids) + self.token_type_embeddings(types))
        return states


class _SelfAttention(nn.Module):
    def __init__(self, config: BertConfig, *, norms: bool) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.query, self.key, self.value = (nn.Linear(config.hidden_size, config.hidden_size) for _ in range(3))
        # Over all heads together, before they part.
        self.layer_norm_q, self.layer_norm_k = (_norm(config) if norms else nn.Identity() for _ in range(2))

    def forward(self, states: torch.Tensor, layout: Layout) -> torch.Tensor:
        query, key = self.layer_norm_q(self.query(states)), self.layer_norm_k(self.key(states))
        query, key, value = (part.unflatten(1, (self.heads, -1)) for part in (query, key, self.value(states)))
        return alibi_attention(query, key, value, layout).flatten(1)


class _AttentionOutput(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = _norm(config)

    def forward(self, context: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.LayerNorm(self.dense(context).add_(states))
        return out


class _Attention(nn.Module):
    def __init__(self, config: BertConfig, *, norms: bool = False) -> None:
        super().__init__()
        self.self = _SelfAttention(config, norms=norms)
        self.output = _AttentionOutput(config)

    def forward(self, states: torch.Tensor, layout: Layout) -> torch.Tensor:
        out: torch.Tensor = self.output(self.self(states, layout), states)
        return out


class _Mlp(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.activation = _activation(config)
        self.gated_layers = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.wo = nn.Linear(config.intermediate_size, config.hidden_size)
        self.layernorm = _norm(config)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        gate, up = self.gated_layers(states).chunk(2, -1)
        out: torch.Tensor = self.layernorm(self.wo(self.activation(gate).mul_(up)).add_(states))
        return out


class _Layer(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = _Attention(config)
        self.mlp = _Mlp(config)

    def forward(self, states: torch.Tensor, layout: Layout) -> torch.Tensor:
        out: torch.Tensor = self.mlp(self.attention(states, layout))
        return out


class _QKPostNormMlp(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.activation = _activation(config)
        self.up_gated_layer = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down_layer = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        # The other way round than in the standard layout: the second half is the gate.
        up, gate = self.up_gated_layer(states).chunk(2, -1)
        out: torch.Tensor = self.down_layer(self.activation(gate).mul_(up))
        return out


class _QKPostNormLayer(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = _Attention(config, norms=True)
        self.mlp = _QKPostNormMlp(config)
        self.layer_norm_1, self.layer_norm_2 = _norm(config), _norm(config)

    def forward(self, states: torch.Tensor, layout: Layout) -> torch.Tensor:
        # A second residual around attention, which has one of its own.
        attended = self.layer_norm_1(self.attention(states, layout).add_(states))
        out: torch.Tensor = self.layer_norm_2(self.mlp(attended).add_(attended))
        return out


def _norm(config: BertConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)


def _activation(config: BertConfig) -> Any:
    return _ACTIVATIONS[config.feed_forward_type]


def _read_layout(folder: Path, config: BertConfig) -> LayerLayout:
    """Return the layout of the layers, by what their weights are called."""
    reason = "JinaBERT (jina-embeddings-v2) is known in two layouts, that of base-en and that of base-code, and this "
    if getattr(config, "feed_forward_type", None) not in _ACTIVATIONS or (
        getattr(config, "position_embedding_type", None) != "alibi"
    ):
        raise ValueError(
            f"{reason}is neither: its config.json says feed_forward_type "
            f"{getattr(config, 'feed_forward_type', None)!r} and position_embedding_type "
            f"{getattr(config, 'position_embedding_type', None)!r}."
        )
    names: set[str] = set()
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as weights:
            names.update(weights.keys())
    first = {name.partition("encoder.layer.0.")[2] for name in names} - {""}
    layer_layout = next((layout for layout, known in _LAYOUTS.items() if first == known), None)
    if layer_layout is None:
        differing = min((sorted(first ^ known) for known in _LAYOUTS.values()), key=len)
        raise ValueError(
            f"{reason}is neither: its first layer differs from the nearest in {', '.join(differing[:6])}. Serve it "
            "where its own code runs, and use Embedder.served."
        )
    repositories = {str(path).partition("--")[0] for path in (getattr(config, "auto_map", None) or {}).values()}
    other_code = sorted(name for name in repositories if name.startswith("jinaai/") and _CODE.get(name) != layer_layout)
    if other_code:
        raise ValueError(
            f"{reason}has the code of {other_code[0]}, which computes something else. Serve it where that code runs, "
            "and use Embedder.served."
        )
    return layer_layout
