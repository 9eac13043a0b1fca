"""What the card is also tried with: sentence-transformers, and transformers in padded batches."""

from __future__ import annotations

import importlib.util
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from gpu_clock import forget, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


class PaddedLoop:
    """Transformers in padded batches, longest first, as sentence-transformers runs it.

    Attributes:
        name: What it is called in tables.
    """

    def __init__(self, folder: Path, device: str, dtype: torch.dtype, *, attention: str = "sdpa") -> None:
        self.name = f"padded transformers loop ({attention})"
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModel.from_pretrained(folder, dtype=dtype, attn_implementation=attention).to(device).eval()

    @torch.inference_mode()
    def embed(self, texts: Sequence[str], batch_size: int) -> np.ndarray:
        """Return vectors of length 1, shape `(n, size)`."""
        out = np.empty((len(texts), self._model.config.hidden_size), np.float32)
        for batch in _longest_first([len(text) for text in texts], batch_size):
            inputs = self._tokenizer([texts[at] for at in batch], padding=True, return_tensors="pt")
            last = self._model(**inputs.to(self._model.device), use_cache=False).last_hidden_state[:, -1]
            out[batch] = functional.normalize(last.float(), dim=-1).cpu().numpy()
        return out


class SentenceTransformersPeer:
    """sentence-transformers, in the same precision.

    Attributes:
        name: What it is called in tables.
    """

    def __init__(self, folder: Path, device: str, dtype: torch.dtype) -> None:
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415 may be missing

        self.name = "sentence-transformers"
        options = {"dtype": dtype, "attn_implementation": "sdpa"}
        self._model = SentenceTransformer(str(folder), device=device, model_kwargs=options, local_files_only=True)

    def embed(self, texts: Sequence[str], batch_size: int) -> np.ndarray:
        """Return vectors of length 1, shape `(n, size)`."""
        rows: np.ndarray = self._model.encode(list(texts), batch_size=batch_size, show_progress_bar=False)
        return rows


class PaddedReranker:
    """Qwen3-Reranker as its model card runs it, in padded batches, with the head at the last position only.

    Attributes:
        name: What it is called in tables.
    """

    def __init__(self, folder: Path, device: str, dtype: torch.dtype, true_and_false: list[str]) -> None:
        self.name = "padded transformers loop (sdpa)"
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._true, self._false = map(self._tokenizer.convert_tokens_to_ids, true_and_false)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")
        self._model = model.to(device).eval()

    @torch.inference_mode()
    def log_odds(self, prompts: Sequence[Sequence[str]], batch_size: int) -> np.ndarray:
        """Return logit(true) - logit(false) of each prompt, whose pieces are tokenized apart."""
        ids = [
            [token for piece in prompt for token in self._tokenizer.encode(piece, add_special_tokens=False)]
            for prompt in prompts
        ]
        out = np.empty(len(ids))
        for batch in _longest_first([*map(len, ids)], batch_size):
            longest = len(ids[batch[0]])
            rows = [[0] * (longest - len(ids[at])) + ids[at] for at in batch]
            mask = [[0] * (longest - len(ids[at])) + [1] * len(ids[at]) for at in batch]
            given, seen = (torch.tensor(part, device=self._model.device) for part in (rows, mask))
            made = self._model(input_ids=given, attention_mask=seen, logits_to_keep=1, use_cache=False)
            logits = made.logits[:, -1].float()
            out[batch] = (logits[:, self._true] - logits[:, self._false]).cpu().numpy()
        return out


def _longest_first(lengths: list[int], batch_size: int) -> Iterator[list[int]]:
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def peer_class(name: str) -> Any:
    """Return the peer asked for; `auto` is sentence-transformers where it is installed."""
    if name == "auto":
        name = "sentence-transformers" if importlib.util.find_spec("sentence_transformers") else "padded"
    return {"sentence-transformers": SentenceTransformersPeer, "padded": PaddedLoop}[name]


def best_batch_size(run: Callable[[int], Any], sizes: Sequence[int]) -> int:
    """Return the batch size that takes least time; sizes that the card's memory does not hold are passed over.

    Raises:
        RuntimeError: If it holds none.
    """
    taken = {}
    for size in sizes:
        try:
            taken[size] = min(seconds(partial(run, size)) for _ in range(2))
        except torch.OutOfMemoryError:
            forget()
    if not taken:
        raise RuntimeError(f"the peer runs out of memory at every batch size of {sizes}")
    return min(taken, key=taken.__getitem__)
