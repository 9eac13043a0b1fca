"""Small checkpoints of the real architectures, random weights, in the layouts the hub has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_CORPUS = [
    "the quick brown fox jumps over the lazy dog. yes no query document instruct relevance score system user",
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. assistant",
    "Hello world! embeddings 1234567890 retrieval search engine def return import class self",
] * 8

QWEN3_PROMPTS = {
    "query": "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
    "document": "",
}


def qwen3(folder: Path, *, append_eos: bool = True, max_tokens: int = 512, **config: Any) -> Path:
    """A Qwen3ForCausalLM as on the hub: a causal checkpoint whose tokenizer ends inputs with `<|endoftext|>`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        _CORPUS, trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, special_tokens=special)
    )
    end = tokenizer.token_to_id("<|endoftext|>")
    if append_eos:
        tokenizer.post_processor = processors.Sequence(
            [
                processors.ByteLevel(trim_offsets=False),
                processors.TemplateProcessing(
                    single="$A <|endoftext|>",
                    pair="$A <|endoftext|> $B:1 <|endoftext|>:1",
                    special_tokens=[("<|endoftext|>", end)],
                ),
            ]
        )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=max_tokens,
        padding_side="left",
    ).save_pretrained(folder)
    settings = {
        "vocab_size": 640,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": max_tokens,
        "tie_word_embeddings": True,
        "eos_token_id": end,
        "bos_token_id": end,
        "pad_token_id": end,
        "initializer_range": 0.3,
    }
    _save(transformers.Qwen3ForCausalLM, transformers.Qwen3Config(**settings | config), folder)
    return folder


def qwen3_embedding(folder: Path, **options: Any) -> Path:
    """A Qwen3-Embedding folder with its sentence-transformers files."""
    qwen3(folder, **options)
    sentence_transformers_files(folder, pooling="lasttoken", size=64, prompts=QWEN3_PROMPTS)
    return folder


def wordpiece(folder: Path, *, max_tokens: int = 128) -> None:
    """Save a BERT tokenizer."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(_CORPUS, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special))
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=max_tokens,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(folder)


def bert(folder: Path, kind: str = "BertModel", **config: Any) -> Path:
    """A BERT of any head."""
    wordpiece(folder)
    settings = {
        "vocab_size": 320,
        "hidden_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "max_position_embeddings": 128,
        "initializer_range": 0.3,
        "pad_token_id": 0,
    }
    _save(getattr(transformers, kind), transformers.BertConfig(**settings | config), folder)
    return folder


def bert_embedding(folder: Path, *, pooling: str = "cls", prompts: dict[str, str] | None = None, **config: Any) -> Path:
    """A BERT folder with sentence-transformers files."""
    bert(folder, **config)
    sentence_transformers_files(folder, pooling=pooling, size=48, prompts=prompts or {})
    return folder


def deberta_cross_encoder(folder: Path) -> Path:
    """A DeBERTa-v2 cross-encoder, the family of mxbai-rerank v1."""
    wordpiece(folder)
    config = transformers.DebertaV2Config(
        vocab_size=320,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=128,
        relative_attention=True,
        position_buckets=32,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        type_vocab_size=0,
        num_labels=1,
        initializer_range=0.3,
        pad_token_id=0,
    )
    _save(transformers.DebertaV2ForSequenceClassification, config, folder)
    return folder


def distilbert_embedding(folder: Path) -> Path:
    """An architecture that runs padded."""
    wordpiece(folder)
    config = transformers.DistilBertConfig(
        vocab_size=320, dim=48, n_layers=2, n_heads=4, hidden_dim=96, max_position_embeddings=128, initializer_range=0.3
    )
    _save(transformers.DistilBertModel, config, folder)
    sentence_transformers_files(folder, pooling="mean", size=48)
    return folder


def roberta_embedding(folder: Path) -> Path:
    """An architecture whose position ids start behind the padding id."""
    wordpiece(folder, max_tokens=126)
    config = transformers.XLMRobertaConfig(
        vocab_size=320,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=128,
        type_vocab_size=1,
        initializer_range=0.3,
        pad_token_id=0,
    )
    _save(transformers.XLMRobertaModel, config, folder)
    sentence_transformers_files(folder, pooling="mean", size=48)
    return folder


def jina_bert(folder: Path, *, layout: str = "standard", spread: float = 0.2, **config: Any) -> Path:
    """A jina-embeddings-v2 as on the hub, without sentence-transformers files.

    Args:
        folder: Where to.
        layout: `"standard"`, or `"qk_post_norm"` as base-code has it.
        spread: Standard deviation of the weights.
        **config: Changes of its config.json.
    """
    wordpiece(folder, max_tokens=8192)
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
    write_json(folder / "config.json", settings)
    return folder


def _norm(name: str, size: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def _linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def sentence_transformers_files(
    folder: Path,
    *,
    pooling: str | Sequence[str],
    size: int,
    prompts: dict[str, str] | None = None,
    normalize: bool = True,
    reader: dict[str, Any] | None = None,
) -> None:
    """Write modules.json and what it names, as sentence-transformers 2 to 4 did."""
    keys = {
        "cls": "pooling_mode_cls_token",
        "mean": "pooling_mode_mean_tokens",
        "lasttoken": "pooling_mode_lasttoken",
        "max": "pooling_mode_max_tokens",
    }
    chosen = [pooling] if isinstance(pooling, str) else pooling
    write_json(
        folder / "1_Pooling/config.json",
        {"word_embedding_dimension": size, **{key: mode in chosen for mode, key in keys.items()}},
    )
    kinds = ["Transformer", "Pooling", *["Normalize"] * normalize]
    paths = ["", "1_Pooling", "2_Normalize"]
    write_json(
        folder / "modules.json",
        [
            {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for at, (kind, path) in enumerate(zip(kinds, paths, strict=False))
        ],
    )
    if prompts:
        write_json(folder / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": None})
    if reader:
        write_json(folder / "sentence_bert_config.json", reader)


def write_json(path: Path, said: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(said))


def edit_json(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; None removes one."""
    said = json.loads(path.read_text())
    said.update(changes)
    write_json(path, {key: value for key, value in said.items() if value is not None})


def _save(kind: Any, config: Any, folder: Path) -> None:
    torch.manual_seed(0)
    model = kind(config).eval()
    for module in model.modules():
        # The padding row starts as zeros, and Qwen3 pools from the padding token.
        if isinstance(module, torch.nn.Embedding) and module.padding_idx is not None:
            module.weight.data[module.padding_idx].normal_(0, 0.3)
    model.save_pretrained(folder)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())
