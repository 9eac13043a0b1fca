"""Small JinaBERT checkpoints, random weights, with the names and settings of jina-embeddings-v2 on the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

import checkpoints

if TYPE_CHECKING:
    from pathlib import Path


def embedding(folder: Path, *, layout: str = "standard", spread: float = 0.2, **config: Any) -> Path:
    """A jina-embeddings-v2 as on the hub, without sentence-transformers files.

    Args:
        folder: Where to.
        layout: `"standard"`, or `"qk_post_norm"` as base-code has it.
        spread: Standard deviation of the weights.
        **config: Changes of its config.json.
    """
    checkpoints.wordpiece(folder, max_tokens=8192)
    code = layout == "qk_post_norm"
    repo = "jinaai/jina-bert-v2-qk-post-norm" if code else "jinaai/jina-bert-implementation"
    settings: dict[str, Any] = {
        "model_type": "bert",
        "architectures": ["JinaBertForMaskedLM"],
        "auto_map": {"AutoModel": f"{repo}--modeling_bert.JinaBertModel"},
        "attention_probs_dropout_prob": 0.0,
        "emb_pooler": "mean",
        "feed_forward_type": "geglu",
        "hidden_act": "gelu",
        "hidden_size": 48,
        "intermediate_size": 96,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 8192,
        "num_attention_heads": 6,
        "num_hidden_layers": 2,
        "pad_token_id": 0,
        "position_embedding_type": "alibi",
        "torch_dtype": "float32",
        "type_vocab_size": 2,
        "vocab_size": 320,
    } | config
    size, inner = settings["hidden_size"], settings["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (settings["vocab_size"], size),
        "embeddings.token_type_embeddings.weight": (settings["type_vocab_size"], size),
        **_norm("embeddings.LayerNorm", size),
        **_linear("pooler.dense", size, size),
    }
    for at in range(settings["num_hidden_layers"]):
        layer = f"encoder.layer.{at}"
        for name in ("query", "key", "value"):
            shapes |= _linear(f"{layer}.attention.self.{name}", size, size)
        shapes |= _linear(f"{layer}.attention.output.dense", size, size)
        shapes |= _norm(f"{layer}.attention.output.LayerNorm", size)
        if code:
            shapes |= _norm(f"{layer}.attention.self.layer_norm_q", size)
            shapes |= _norm(f"{layer}.attention.self.layer_norm_k", size)
            shapes |= {f"{layer}.mlp.up_gated_layer.weight": (2 * inner, size)}
            shapes |= _linear(f"{layer}.mlp.down_layer", inner, size)
            shapes |= _norm(f"{layer}.layer_norm_1", size) | _norm(f"{layer}.layer_norm_2", size)
        else:
            shapes |= {f"{layer}.mlp.gated_layers.weight": (2 * inner, size)}
            shapes |= _linear(f"{layer}.mlp.wo", inner, size) | _norm(f"{layer}.mlp.layernorm", size)
    draw = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(shape, generator=draw) * spread for name, shape in shapes.items()}
    for name in weights:
        if name.endswith(".weight") and "norm" in name.lower():
            weights[name] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    checkpoints.write_json(folder / "config.json", settings)
    return folder


def embedding_with_files(folder: Path) -> Path:
    """A jina-embeddings-v2 with sentence-transformers files."""
    embedding(folder)
    checkpoints.sentence_transformers_files(folder, pooling="mean", size=48, normalize=False)
    return folder


def _norm(name: str, size: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def _linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
