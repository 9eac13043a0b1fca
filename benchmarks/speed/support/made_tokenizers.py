"""Tokenizers of the models' kinds, trained offline on made words and the models' own prompts.

A made word is one token, and a prompt takes about as many tokens as with the real tokenizer.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import transformers
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from qwen_embed_integrations.profiles import ModelProfile, RerankProfile, profile_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_END = "<|endoftext|>"
_PROMPTED = ("Qwen3-Embedding-0.6B", "mxbai-embed-large-v1", "Qwen3-Reranker-0.6B")
_VOCABULARY = 20_000
# How Qwen's tokenizer splits before it merges.
_QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def made_words() -> list[str]:
    """Return the 2,500 words that the tokenizers know whole."""
    syllables = ["".join(pair) for pair in product("bdfgklmnpr", "aeiou")]
    return [first + second for first, second in product(syllables, repeat=2)]


def _corpus() -> Iterator[str]:
    # Each word first and after a blank; prompts often enough to become whole words.
    for word in made_words():
        yield f"{word} {word}"
    for name in _PROMPTED:
        yield from [_prompt(name)] * 5000


def _prompt(name: str) -> str:
    profile = profile_for(name)
    if isinstance(profile, RerankProfile):
        return f"{profile.prefix}{profile.body}{profile.suffix}{profile.default_instruction} yes no"
    if isinstance(profile, ModelProfile):
        return profile.prefix("query")
    raise TypeError(f"{name} has no profile")


def wordpiece(folder: Path, *, max_tokens: int) -> None:
    """Save a BERT tokenizer."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 a token of text, no secret
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        _corpus(), trainers.WordPieceTrainer(vocab_size=_VOCABULARY, special_tokens=special, show_progress=False)
    )
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    _save(
        tokenizer,
        folder,
        unk_token="[UNK]",  # noqa: S106 a token of text, no secret
        pad_token="[PAD]",  # noqa: S106
        cls_token="[CLS]",  # noqa: S106
        sep_token="[SEP]",  # noqa: S106
        mask_token="[MASK]",  # noqa: S106
        model_max_length=max_tokens,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def byte_level(folder: Path, *, max_tokens: int, ends: bool = True) -> None:
    """Save a Qwen3 tokenizer; with `ends`, it ends inputs with `<|endoftext|>`, as an embedding model's does."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.train_from_iterator(
        _corpus(),
        trainers.BpeTrainer(
            vocab_size=_VOCABULARY,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=[_END, "<|im_start|>", "<|im_end|>", "<think>", "</think>"],
            show_progress=False,
        ),
    )
    if ends:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"$A {_END}", pair=f"$A {_END} $B:1 {_END}:1", special_tokens=[(_END, tokenizer.token_to_id(_END))]
        )
    _save(
        tokenizer,
        folder,
        eos_token="<|im_end|>",  # noqa: S106 a token of text, no secret
        pad_token=_END,
        model_max_length=max_tokens,
        padding_side="left",
    )


def _save(tokenizer: Tokenizer, folder: Path, **settings: Any) -> None:
    fast: Any = transformers.PreTrainedTokenizerFast
    fast(tokenizer_object=tokenizer, **settings).save_pretrained(folder)
