"""Checkpoints with the shapes of real models and random weights, made offline; MiniLM is the real one."""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
import transformers
from safetensors.torch import save_file

from qwen_embed_integrations.benchmark.models import default_model
from qwen_embed_integrations.profiles import ModelProfile, profile_for
from support.made_tokenizers import byte_level, wordpiece

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_embed_integrations.profiles import Pooling
    from support.options import Compute

Kind = Literal["bert", "qwen3", "jina_bert", "installed"]

_ST_POOLING: dict[Pooling, str] = {"last": "lasttoken", "cls": "cls", "mean": "mean"}


@dataclass(frozen=True)
class Shape:
    """What a checkpoint is made of.

    Attributes:
        name: The real model, without its organisation; also the folder.
        kind: The architecture; `"installed"` is the real MiniLM that comes as a package.
        pooling: How token vectors become one.
        max_tokens: Longest input.
        config: Sizes in the architecture's own words.
        head: The head of the checkpoint, such as `"ForCausalLM"`.
    """

    name: str
    kind: Kind
    pooling: Pooling
    max_tokens: int
    config: dict[str, Any] = field(default_factory=dict)
    head: Literal["Model", "ForCausalLM"] = "Model"

    def changed(self, config: dict[str, Any]) -> Shape:
        """Return the shape with other sizes; the installed model has no other."""
        return self if self.kind == "installed" else replace(self, config=self.config | config)

    @property
    def query_prefix(self) -> str:
        """What stands before a query."""
        profile = None if self.kind == "installed" else profile_for(self.name)
        return profile.prefix("query") if isinstance(profile, ModelProfile) else ""


def _sizes(*, layers: int, size: int, heads: int, inner: int, vocabulary: int) -> dict[str, int]:
    return {
        "num_hidden_layers": layers,
        "hidden_size": size,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "vocab_size": vocabulary,
    }


_MXBAI = _sizes(layers=24, size=1024, heads=16, inner=4096, vocabulary=30522)
_JINA = _sizes(layers=12, size=768, heads=12, inner=3072, vocabulary=30528)
_QWEN3_HEADS = {"num_key_value_heads": 8, "head_dim": 128}
_QWEN3_0_6B = _sizes(layers=28, size=1024, heads=16, inner=3072, vocabulary=151_669) | _QWEN3_HEADS
_QWEN3_4B = _sizes(layers=36, size=2560, heads=32, inner=9728, vocabulary=151_665) | _QWEN3_HEADS
_QWEN3_8B = _sizes(layers=36, size=4096, heads=32, inner=12288, vocabulary=151_665) | _QWEN3_HEADS

# Sizes: the models' config.json.
SHAPES = {
    "mxbai": Shape("mxbai-embed-large-v1", "bert", "cls", 512, _MXBAI),
    "qwen3": Shape("Qwen3-Embedding-0.6B", "qwen3", "last", 32768, _QWEN3_0_6B),
    "qwen3-4b": Shape("Qwen3-Embedding-4B", "qwen3", "last", 32768, _QWEN3_4B),
    "qwen3-8b": Shape("Qwen3-Embedding-8B", "qwen3", "last", 32768, _QWEN3_8B),
    "jina": Shape("jina-embeddings-v2-base-en", "jina_bert", "mean", 8192, _JINA),
    "minilm": Shape("all-MiniLM-L6-v2", "installed", "mean", 256),
}


@contextmanager
def checkpoint(shape: Shape, compute: Compute, *, seed: int, parent: Path | None) -> Iterator[Path]:
    """Make a checkpoint, and remove it afterwards.

    Args:
        shape: What to make.
        compute: Where its weights are drawn, and their number format.
        seed: Of the weights.
        parent: Where its folder goes; None where temporary files go.
    """
    with tempfile.TemporaryDirectory(dir=parent) as made:
        yield write(shape, Path(made), compute, seed=seed)


def write(shape: Shape, parent: Path, compute: Compute, *, seed: int = 0) -> Path:
    """Write a checkpoint in sentence-transformers layout, and return its folder; see `checkpoint`."""
    if shape.kind == "installed":
        return default_model()
    folder = parent / shape.name
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    if shape.kind == "qwen3":
        # A reranker's tokenizer ends inputs with nothing.
        byte_level(folder, max_tokens=shape.max_tokens, ends=shape.head == "Model")
        _write_transformers(shape, folder, compute)
    else:
        wordpiece(folder, max_tokens=shape.max_tokens)
        if shape.kind == "bert":
            _write_transformers(shape, folder, compute)
        else:
            _write_jina_bert(shape, folder, compute.dtype)
    if shape.head == "Model":
        _write_modules(shape, folder)
    return folder


def config_of(shape: Shape) -> transformers.PretrainedConfig:
    """Return transformers' settings of a shape."""
    if shape.kind == "bert":
        return transformers.BertConfig(max_position_embeddings=shape.max_tokens, pad_token_id=0, **shape.config)
    settings: dict[str, Any] = {
        "max_position_embeddings": shape.max_tokens,
        "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    return transformers.Qwen3Config(**settings | shape.config)


def _write_transformers(shape: Shape, folder: Path, compute: Compute) -> None:
    maker: Any = transformers.AutoModel if shape.head == "Model" else transformers.AutoModelForCausalLM
    with torch.device(compute.device):
        model = maker.from_config(config_of(shape), dtype=compute.dtype)
    model.save_pretrained(folder, max_shard_size="4GB")


def _write_jina_bert(shape: Shape, folder: Path, dtype: torch.dtype) -> None:
    # transformers 5 has no code for it, so the weights are named here.
    settings: dict[str, Any] = {
        "model_type": "bert",
        "architectures": ["JinaBertForMaskedLM"],
        "auto_map": {"AutoModel": "jinaai/jina-bert-implementation--modeling_bert.JinaBertModel"},
        "attention_probs_dropout_prob": 0.0,
        "emb_pooler": "mean",
        "feed_forward_type": "geglu",
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": shape.max_tokens,
        "pad_token_id": 0,
        "position_embedding_type": "alibi",
        "torch_dtype": str(dtype).removeprefix("torch."),
        "type_vocab_size": 2,
        **shape.config,
    }
    size, inner = settings["hidden_size"], settings["intermediate_size"]
    weights = {
        "embeddings.word_embeddings.weight": _drawn(settings["vocab_size"], size),
        "embeddings.token_type_embeddings.weight": _drawn(2, size),
        **_norm("embeddings.LayerNorm", size),
    }
    for number in range(settings["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            weights |= _linear(f"{layer}.attention.{name}", size, size)
        weights |= _norm(f"{layer}.attention.output.LayerNorm", size)
        weights |= {f"{layer}.mlp.gated_layers.weight": _drawn(2 * inner, size)}
        weights |= _linear(f"{layer}.mlp.wo", inner, size) | _norm(f"{layer}.mlp.layernorm", size)
    save_file(
        {name: tensor.to(dtype) for name, tensor in weights.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    _write_json(folder / "config.json", settings)


def _drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape) * 0.02


def _linear(name: str, inputs: int, outputs: int) -> dict[str, torch.Tensor]:
    return {f"{name}.weight": _drawn(outputs, inputs), f"{name}.bias": torch.zeros(outputs)}


def _norm(name: str, size: int) -> dict[str, torch.Tensor]:
    return {f"{name}.weight": torch.ones(size), f"{name}.bias": torch.zeros(size)}


def _write_modules(shape: Shape, folder: Path) -> None:
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(kinds.items())
    ]
    pooling = {"embedding_dimension": shape.config["hidden_size"], "pooling_mode": _ST_POOLING[shape.pooling]}
    prompts = {"query": shape.query_prefix, "document": ""}
    (folder / "2_Normalize").mkdir(exist_ok=True)
    _write_json(folder / "modules.json", modules)
    _write_json(folder / "1_Pooling/config.json", pooling)
    _write_json(folder / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": None})


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
