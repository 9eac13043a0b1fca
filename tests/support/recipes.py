"""What the models' authors compute, with transformers and nothing of ours, one text after the other."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@lru_cache
def _loaded(kind: Any, folder: Path) -> tuple[Any, Any]:
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    return tokenizer, kind.from_pretrained(folder, dtype=torch.float32).eval()


def count_tokens(folder: Path, texts: Sequence[str]) -> int:
    """Return how many tokens a checkpoint reads for these texts, appended ones included."""
    tokenizer, _ = _loaded(AutoModel, folder)
    return sum(len(tokenizer(text)["input_ids"]) for text in texts)


def last_token_vectors(folder: Path, texts: Sequence[str]) -> np.ndarray:
    """Return what the README of QwenLM/Qwen3-Embedding computes: the last token's state, brought to length 1."""
    tokenizer, model = _loaded(AutoModel, folder)
    rows = []
    with torch.no_grad():
        for text in texts:
            state = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, -1]
            rows.append(torch.nn.functional.normalize(state, dim=0).numpy())
    return np.stack(rows)


def official_scores(folder: Path, query: str, documents: Sequence[str], instruction: str) -> np.ndarray:
    """Return what the README of QwenLM/Qwen3-Embedding computes for its rerankers: the probability of "yes"."""
    scores: np.ndarray = 1 / (1 + np.exp(-official_logits(folder, query, documents, instruction)))
    return scores


def official_logits(
    folder: Path, query: str, documents: Sequence[str], instruction: str, max_length: int = 8192
) -> np.ndarray:
    """Return what that README takes the softmax of, step by step: "yes" against "no"."""
    tokenizer, model = _loaded(AutoModelForCausalLM, folder)
    prefix = (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    )
    suffix = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    prefix_tokens = tokenizer.encode(prefix, add_special_tokens=False)
    suffix_tokens = tokenizer.encode(suffix, add_special_tokens=False)
    pairs = [f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}" for document in documents]
    room = max_length - len(prefix_tokens) - len(suffix_tokens)
    inputs = tokenizer(pairs, padding=False, truncation="longest_first", return_attention_mask=False, max_length=room)
    inputs["input_ids"] = [prefix_tokens + each + suffix_tokens for each in inputs["input_ids"]]
    inputs = tokenizer.pad(inputs, padding=True, return_tensors="pt")
    with torch.no_grad():
        last = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits[:, -1, :]
    no, yes = (last[:, tokenizer.convert_tokens_to_ids(word)] for word in ("no", "yes"))
    found: np.ndarray = (yes - no).numpy()
    return found
