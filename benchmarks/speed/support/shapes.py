"""Checkpoints with the shapes of real models and random weights, made offline, tokenizers included.

The tokenizers are trained on made words and on the models' own prompts: a made word is one token, and a prompt takes
about as many tokens as with the real one. The embedding table is as large as the real one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from qwen_embed_integrations.benchmark.models import default_model
from qwen_embed_integrations.profiles import ModelProfile, profile_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from qwen_embed_integrations.profiles import Pooling

Kind = Literal["bert", "qwen3", "jina_bert", "installed"]

_END = "<|endoftext|>"
# How Qwen's tokenizer splits before it merges.
_QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
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
    head: str = "Model"

    def changed(self, config: dict[str, Any]) -> Shape:
        """Return the shape with other sizes; the installed model has no other."""
        return self if self.kind == "installed" else replace(self, config=self.config | config)

    @property
    def query_prefix(self) -> str:
        """What stands before a query."""
        if self.kind == "installed":
            return ""
        known = profile_for(self.name)
        return known.prefix("query") if isinstance(known, ModelProfile) else ""


# Sizes: the models' config.json.
SHAPES = {
    "mxbai": Shape(
        "mxbai-embed-large-v1",
        "bert",
        "cls",
        512,
        {
            "num_hidden_layers": 24,
            "hidden_size": 1024,
            "num_attention_heads": 16,
            "intermediate_size": 4096,
            "vocab_size": 30522,
        },
    ),
    "qwen3": Shape(
        "Qwen3-Embedding-0.6B",
        "qwen3",
        "last",
        32768,
        {
            "num_hidden_layers": 28,
            "hidden_size": 1024,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "intermediate_size": 3072,
            "vocab_size": 151669,
        },
    ),
    "jina": Shape(
        "jina-embeddings-v2-base-en",
        "jina_bert",
        "mean",
        8192,
        {
            "num_hidden_layers": 12,
            "hidden_size": 768,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
            "vocab_size": 30528,
        },
    ),
    "minilm": Shape("all-MiniLM-L6-v2", "installed", "mean", 256),
}


def write(shape: Shape, parent: Path, *, dtype: torch.dtype, seed: int = 0) -> Path:
    """Write a checkpoint in sentence-transformers layout.

    Args:
        shape: What to make.
        parent: Where its folder goes.
        dtype: Number format of the weights.
        seed: Of the weights.

    Returns:
        The folder.
    """
    if shape.kind == "installed":
        return default_model()
    folder = parent / shape.name
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    if shape.kind == "jina_bert":
        wordpiece(folder, max_tokens=shape.max_tokens)
        _write_jina_bert(folder, shape, dtype)
    elif shape.kind == "bert":
        wordpiece(folder, max_tokens=shape.max_tokens)
        config = transformers.BertConfig(max_position_embeddings=shape.max_tokens, pad_token_id=0, **shape.config)
        _write_transformers("Bert", shape, config, folder, dtype)
    else:
        # A reranker's tokenizer ends inputs with nothing.
        byte_level(folder, max_tokens=shape.max_tokens, ends=shape.head == "Model")
        config = transformers.Qwen3Config(
            **{
                "max_position_embeddings": shape.max_tokens,
                "tie_word_embeddings": True,
                "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
                "bos_token_id": 0,
                "eos_token_id": 0,
            }
            | shape.config
        )
        _write_transformers("Qwen3", shape, config, folder, dtype)
    if shape.head == "Model":
        _write_modules(folder, shape)
    return folder


def _write_transformers(family: str, shape: Shape, config: Any, folder: Path, dtype: torch.dtype) -> None:
    standard = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        getattr(transformers, family + shape.head)(config).save_pretrained(folder)
    finally:
        torch.set_default_dtype(standard)


def _write_jina_bert(folder: Path, shape: Shape, dtype: torch.dtype) -> None:
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
    for at in range(settings["num_hidden_layers"]):
        layer = f"encoder.layer.{at}"
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


def _write_modules(folder: Path, shape: Shape) -> None:
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    _write_json(
        folder / "modules.json",
        [
            {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for at, (path, kind) in enumerate(kinds.items())
        ],
    )
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "2_Normalize").mkdir(exist_ok=True)
    _write_json(
        folder / "1_Pooling/config.json",
        {"embedding_dimension": shape.config["hidden_size"], "pooling_mode": _ST_POOLING[shape.pooling]},
    )
    prompts = {"query": shape.query_prefix, "document": ""}
    _write_json(folder / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": None})


def _write_json(path: Path, said: Any) -> None:
    path.write_text(json.dumps(said), encoding="utf-8")


def made_words() -> list[str]:
    """Return the 2,500 words that the made tokenizers know whole."""
    syllables = ["".join(pair) for pair in product("bdfgklmnpr", "aeiou")]
    return [first + second for first, second in product(syllables, repeat=2)]


def _corpus() -> Iterator[str]:
    # Each word first and after a blank; prompts often enough to become whole words.
    for word in made_words():
        yield f"{word} {word}"
    for name in ("Qwen3-Embedding-0.6B", "mxbai-embed-large-v1"):
        prefix = profile_for(name).prefix("query")  # type: ignore[union-attr] both are embedding models
        yield from [prefix] * 5000
    reranker: Any = profile_for("Qwen3-Reranker-0.6B")
    yield from [f"{reranker.prefix}{reranker.body}{reranker.suffix}{reranker.default_instruction} yes no"] * 5000


def wordpiece(folder: Path, *, max_tokens: int) -> None:
    """Save a BERT tokenizer."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 a token of text, no secret
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        _corpus(), trainers.WordPieceTrainer(vocab_size=20000, special_tokens=special, show_progress=False)
    )
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",  # noqa: S106
        pad_token="[PAD]",  # noqa: S106
        cls_token="[CLS]",  # noqa: S106
        sep_token="[SEP]",  # noqa: S106
        mask_token="[MASK]",  # noqa: S106
        model_max_length=max_tokens,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(folder)


def byte_level(folder: Path, *, max_tokens: int, ends: bool = True) -> None:
    """Save a Qwen3 tokenizer; with `ends`, it ends inputs with `<|endoftext|>`, as an embedding model's does."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    special = [_END, "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
    tokenizer.train_from_iterator(
        _corpus(),
        trainers.BpeTrainer(
            vocab_size=20000,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=special,
            show_progress=False,
        ),
    )
    if ends:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"$A {_END}", pair=f"$A {_END} $B:1 {_END}:1", special_tokens=[(_END, tokenizer.token_to_id(_END))]
        )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",  # noqa: S106
        pad_token=_END,
        model_max_length=max_tokens,
        padding_side="left",
    ).save_pretrained(folder)
