"""Qwen3-Embedding checkpoints of the real shapes with random weights, and texts whose tokens are known."""

from __future__ import annotations

import json
import random
import re
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen3Config

from qwen_embed_integrations import RerankProfile, profile_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WORKLOADS = {"queries": (5, 20), "chunks": (20, 500), "documents": (2000, 8000)}  # least and most tokens in a text
LONGEST = 32768
END = "<|endoftext|>"
SPECIAL = (END, "<|im_start|>", "<|im_end|>", "<think>", "</think>")
# How Qwen's tokenizer splits before it merges.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SYLLABLES = ["".join(pair) for pair in product("bcdfghjklmnprst", "aeiou")]
WORDS = ["".join(pair) for pair in product(SYLLABLES, SYLLABLES)]


@dataclass(frozen=True)
class Shape:
    """A Qwen3-Embedding (config.json of Qwen/Qwen3-Embedding-0.6B, -4B, -8B), and how much to measure with it.

    Attributes:
        tied: Whether the output head is the embedding table.
        tokens: Tokens in a round of chunks or documents; an eighth of it of queries.
        square: Side of the square matrices whose product gives the card's rate.
        rows: Rows that are multiplied with the model's own matrices, to measure its rate.
        spread: Standard deviation of the weights: enough for texts to have vectors of their own.
    """

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    inner: int
    vocabulary: int
    tied: bool
    tokens: int
    square: int = 8192
    rows: int = LONGEST
    spread: float = 0.02

    def matrices(self) -> list[tuple[int, int]]:
        """Return inputs and outputs of a layer's matrices."""
        own, shared = self.heads * self.head_size, self.kv_heads * self.head_size
        attention = [(self.hidden, own), (self.hidden, shared), (self.hidden, shared), (own, self.hidden)]
        return [*attention, (self.hidden, self.inner), (self.hidden, self.inner), (self.inner, self.hidden)]

    def parameters(self) -> int:
        """Count the parameters that every token is multiplied with: all but the embedding table and the norms."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.matrices())

    def size(self) -> int:
        """Return the bytes of the bfloat16 checkpoint."""
        return 2 * (self.parameters() + self.vocabulary * self.hidden * (1 if self.tied else 2))


SHAPES = {
    "tiny": Shape(64, 2, 4, 2, 32, 128, 16384, tied=True, tokens=30_000, square=256, rows=256, spread=0.1),
    "0.6B": Shape(1024, 28, 16, 8, 128, 3072, 151_669, tied=True, tokens=1_000_000),
    "4B": Shape(2560, 36, 32, 8, 128, 9728, 151_665, tied=True, tokens=300_000),
    "8B": Shape(4096, 36, 32, 8, 128, 12288, 151_665, tied=False, tokens=200_000),
}


@contextmanager
def checkpoint(shape: Shape, device: str, parent: Path | None) -> Iterator[Path]:
    """Save random bfloat16 weights in the layout of the hub's folders, and remove them afterwards.

    Args:
        shape: Which.
        device: Where the numbers are drawn.
        parent: Where the folder goes; by default into memory where it has room, else where temporary files go.
    """
    memory = Path("/dev/shm")  # noqa: S108 a fresh folder in it
    if parent is None and memory.is_dir() and shutil.disk_usage(memory).free > 1.2 * shape.size():
        parent = memory
    with tempfile.TemporaryDirectory(dir=parent) as made:
        folder = Path(made) / "checkpoint"
        _save_weights(shape, device, folder)
        pooling = {"word_embedding_dimension": shape.hidden, "pooling_mode_lasttoken": True}
        write_json(folder / "1_Pooling/config.json", {**pooling, "pooling_mode_mean_tokens": False})
        steps = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
        write_json(
            folder / "modules.json",
            [
                {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
                for at, (kind, path) in enumerate(steps.items())
            ],
        )
        write_tokenizer(folder, ends=True)
        yield folder


def config_of(shape: Shape) -> Qwen3Config:
    """Return transformers' settings of a shape."""
    return Qwen3Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_size,
        max_position_embeddings=LONGEST,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        initializer_range=shape.spread,
        tie_word_embeddings=shape.tied,
    )


def _save_weights(shape: Shape, device: str, folder: Path) -> None:
    torch.manual_seed(0)
    auto: Any = AutoModelForCausalLM
    with torch.device(device):
        model = auto.from_config(config_of(shape), dtype=torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="4GB")


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, and the folders it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_tokenizer(folder: Path, *, ends: bool) -> None:
    """Save a byte-level tokenizer that splits as Qwen's does, with a token for each of `WORDS` and the prompts' words.

    Args:
        folder: The checkpoint.
        ends: Whether texts get the end token, as in Qwen3-Embedding's; Qwen3-Reranker's adds none.
    """
    splits = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    said = filter(None, re.split("|".join(map(re.escape, SPECIAL)), "".join(prompt_pieces("", ""))))
    prompt = [piece for text in said for piece, _ in splits.pre_tokenize_str(text)]
    spaced = [f"Ġ{word}" for word in WORDS]
    tokens = dict.fromkeys([*sorted(pre_tokenizers.ByteLevel.alphabet()), "yes", "no", *prompt, *WORDS, *spaced])
    vocabulary = {token: at for at, token in enumerate(tokens)}
    # Whole words come from the vocabulary, without merging.
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = splits
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    if ends:
        end = (END, tokenizer.token_to_id(END))
        tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[end])
    fast: Any = PreTrainedTokenizerFast
    fast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",  # noqa: S106 no secret
        pad_token=END,
        model_max_length=LONGEST,
        padding_side="left",
    ).save_pretrained(folder)


def rerank_profile() -> RerankProfile:
    """Return Qwen3-Reranker's."""
    found = profile_for("Qwen/Qwen3-Reranker-0.6B")
    if not isinstance(found, RerankProfile):
        raise TypeError("Qwen3-Reranker's profile is no RerankProfile")
    return found


def prompt_pieces(query: str, document: str) -> tuple[str, str, str]:
    """Return a rerank prompt in the pieces that are tokenized apart: before the document, with it, behind it."""
    before, after = rerank_profile().pieces(query, None)
    return "".join(before[:-1]), before[-1] + document + after[0], "".join(after[1:])


def texts_of(lengths: Sequence[int], seed: int) -> list[str]:
    """Make texts that have so many tokens, the end token among them."""
    draw = random.Random(seed)  # noqa: S311 no secret
    return [" ".join(draw.choices(WORDS, k=length - 1)) for length in lengths]


def lengths_of(workload: str, tokens: int) -> list[int]:
    """Draw lengths of a workload until they come to so many tokens."""
    draw, drawn, sum_so_far = random.Random(workload), [], 0  # noqa: S311 no secret
    while sum_so_far < tokens:
        drawn.append(draw.randint(*WORKLOADS[workload]))
        sum_so_far += drawn[-1]
    return drawn
