"""Small checkpoints of the real architectures, random weights, in the layouts the hub has."""

from __future__ import annotations

import json
import random
import re
from typing import TYPE_CHECKING, Any

import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_CORPUS = [
    "the quick brown fox jumps over the lazy dog. yes no query document instruct relevance score system user",
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. assistant",
    "Hello world! embeddings 1234567890 retrieval search engine def return import class self",
] * 8

_BERT_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

QWEN3_PROMPTS = {
    "query": "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
    "document": "",
}


def sample_texts() -> list[str]:
    """Texts of 1 to about 60 words, in no order, some of them repeated, with newlines and other scripts."""
    draw = random.Random(7)
    spoken = "the quick brown fox jumps over lazy dog search engine yes no query 123 Überraschung 检索"
    words = [*spoken.split(), "def f(x):\n\n"]
    made = [" ".join(draw.choices(words, k=draw.choice([1, 2, 3, 5, 8, 20, 60]))) for _ in range(60)]
    return [*made, made[3], made[3], "x"]


# How Qwen's tokenizer splits before it merges: newlines stay with the punctuation or the blanks before them.
_QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def qwen3(
    folder: Path, *, append_eos: bool = True, max_tokens: int = 512, kind: str = "CausalLM", **config: Any
) -> Path:
    """A Qwen3 as on the hub: a causal checkpoint whose tokenizer ends inputs with `<|endoftext|>`."""
    end = _qwen_tokenizer(folder, append_eos=append_eos, max_tokens=max_tokens)
    settings = _qwen_settings(end, max_tokens) | {"head_dim": 32, **config}
    _save(getattr(transformers, f"Qwen3For{kind}"), transformers.Qwen3Config(**settings), folder)
    return folder


def qwen2(folder: Path, *, max_tokens: int = 512, kind: str = "CausalLM", **config: Any) -> Path:
    """A Qwen2, the family of mxbai-rerank v2."""
    end = _qwen_tokenizer(folder, append_eos=False, max_tokens=max_tokens)
    settings = _qwen_settings(end, max_tokens) | config
    _save(getattr(transformers, f"Qwen2For{kind}"), transformers.Qwen2Config(**settings), folder)
    return folder


def _qwen_tokenizer(folder: Path, *, append_eos: bool, max_tokens: int) -> int:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [*_CORPUS, *["fox.\n", "dog?\n"] * 50],
        trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, special_tokens=special),
    )
    end: int = tokenizer.token_to_id("<|endoftext|>")
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
    return end


def _qwen_settings(end: int, max_tokens: int) -> dict[str, Any]:
    return {
        "vocab_size": 640,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": max_tokens,
        "tie_word_embeddings": True,
        "eos_token_id": end,
        "bos_token_id": end,
        "pad_token_id": end,
        "initializer_range": 0.3,
    }


def qwen3_embedding(folder: Path, **options: Any) -> Path:
    """A Qwen3-Embedding folder with its sentence-transformers files."""
    qwen3(folder, **options)
    sentence_transformers_files(folder, pooling="lasttoken", size=64, prompts=QWEN3_PROMPTS)
    return folder


def wordpiece(folder: Path, *, max_tokens: int = 128, typed: bool = True) -> None:
    """Save a BERT tokenizer; with `typed`, it tells the two texts of a pair apart."""
    tokenizer = Tokenizer(models.WordPiece(_pieces(), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(_BERT_SPECIAL)
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
        model_input_names=["input_ids", *["token_type_ids"] * typed, "attention_mask"],
    ).save_pretrained(folder)


def _pieces() -> dict[str, int]:
    # Counted out, not trained: a trainer breaks ties differently each time, and so would all random models.
    words = sorted(set(re.findall(r"\w+|[^\w\s]", " ".join(_CORPUS).lower())))
    letters = sorted(set("".join(words)))
    pieces = [*_BERT_SPECIAL, *letters, *(f"##{letter}" for letter in letters), *words]
    return {piece: at for at, piece in enumerate(dict.fromkeys(pieces))}


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


def bert_cross_encoder(folder: Path) -> Path:
    """A BERT cross-encoder."""
    return bert(folder, "BertForSequenceClassification", num_labels=1)


def xlm_roberta_cross_encoder(folder: Path) -> Path:
    """An XLM-RoBERTa cross-encoder, whose position ids start behind the padding id."""
    wordpiece(folder, max_tokens=126, typed=False)
    config = transformers.XLMRobertaConfig(
        vocab_size=320,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=128,
        type_vocab_size=1,
        num_labels=1,
        initializer_range=0.3,
        pad_token_id=0,
    )
    _save(transformers.XLMRobertaForSequenceClassification, config, folder)
    return folder


def distilbert_cross_encoder(folder: Path) -> Path:
    """A DistilBERT cross-encoder."""
    wordpiece(folder, typed=False)
    config = transformers.DistilBertConfig(
        vocab_size=320,
        dim=48,
        n_layers=2,
        n_heads=4,
        hidden_dim=96,
        max_position_embeddings=128,
        num_labels=1,
        initializer_range=0.3,
    )
    _save(transformers.DistilBertForSequenceClassification, config, folder)
    return folder


def modernbert_cross_encoder(folder: Path) -> Path:
    """A ModernBERT cross-encoder, which attends locally in most layers."""
    wordpiece(folder, typed=False)
    config = transformers.ModernBertConfig(
        vocab_size=320,
        hidden_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=128,
        local_attention=16,
        num_labels=1,
        initializer_range=0.3,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        cls_token_id=2,
        sep_token_id=3,
    )
    _save(transformers.ModernBertForSequenceClassification, config, folder)
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


def as_classifier(source: Path, folder: Path, true_token: str, false_token: str) -> Path:
    """Convert a causal reranker to one row: the difference of the two tokens' rows of its head."""
    causal = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    rows = causal.get_output_embeddings().weight
    yes, no = (rows[tokenizer.convert_tokens_to_ids(token)] for token in (true_token, false_token))
    causal.config.num_labels = 1
    made = transformers.AutoModelForSequenceClassification.from_config(causal.config)
    made.base_model.load_state_dict(causal.base_model.state_dict())
    made.score.weight.data = (yes - no).detach().unsqueeze(0)
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
