"""Texts in padded batches, longest first: what a plain implementation does.

Two run on torch alone. transformers' own code stands in for sentence-transformers where that is missing, and in float32
gives the vectors that others are held against. JinaBERT, which transformers 5 has no code for, is written out from its
mathematics: one bias of distances for all layers, torch's own attention, padding masked.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers
from safetensors.torch import load_file
from torch.nn import functional

from qwen_embed_integrations.local.forward.alibi import slopes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from qwen_embed_integrations.profiles import Pooling
    from support.options import Compute
    from support.shapes import Shape
    from support.texts import Texts

    # Token ids and attention mask.
    Batch = tuple[np.ndarray, np.ndarray]
    ComputeBatches = Callable[[Iterable[Batch]], list[np.ndarray]]


class Padded:
    """A model over padded batches. Those who derive from it set `name` and `_compute`.

    Attributes:
        name: What to call it.
    """

    name: str

    def __init__(self, folder: Path, shape: Shape) -> None:
        self._prefix = shape.query_prefix
        self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._tokenizer.padding_side = "right"
        self._max_tokens = shape.max_tokens
        self._compute: ComputeBatches | None = None

    def embed(self, texts: Texts, batch: int | None) -> np.ndarray:
        """Return unit vectors of shape `(n, dimensions)`, in order."""
        if self._compute is None:
            raise RuntimeError("closed")
        prefix = self._prefix if texts.role == "query" else ""
        ids = self._tokenizer([prefix + text for text in texts.texts], truncation=True, max_length=self._max_tokens)[
            "input_ids"
        ]
        longest_first = sorted(range(len(ids)), key=lambda position: -len(ids[position]))
        size = batch or 1
        batches = (longest_first[start : start + size] for start in range(0, len(ids), size))
        rows = np.concatenate(self._compute(self._padded([ids[position] for position in batch]) for batch in batches))
        vectors: np.ndarray = rows[np.argsort(longest_first)]
        return vectors

    def _padded(self, ids: list[list[int]]) -> Batch:
        padded = self._tokenizer.pad({"input_ids": ids}, return_tensors="np")
        return padded["input_ids"].astype(np.int64), padded["attention_mask"].astype(np.int64)

    def close(self) -> None:
        """Free the model."""
        self._compute = None


def pool(states: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Return unit vectors of token vectors, shape `(n, tokens, size)`, with padding on the right."""
    if pooling == "mean":
        weights = mask[:, :, None].to(states.dtype)
        pooled = (states * weights).sum(1) / weights.sum(1)
    elif pooling == "cls":
        pooled = states[:, 0]
    else:
        last = mask.sum(1) - 1
        pooled = states.gather(1, last[:, None, None].expand(-1, 1, states.shape[-1]))[:, 0]
    return functional.normalize(pooled)


class PaddedTransformers(Padded):
    """transformers' own code and masks."""

    def __init__(self, folder: Path, shape: Shape, compute: Compute, attention: str = "sdpa") -> None:
        super().__init__(folder, shape)
        self.name = f"padded transformers ({attention})"
        load: Any = transformers.AutoModel.from_pretrained
        model = load(folder, dtype=compute.dtype, attn_implementation=attention, local_files_only=True)
        model = model.to(compute.device).eval()
        options = {"use_cache": False} if shape.kind == "qwen3" else {}

        @torch.inference_mode()
        def vectors(batch: Batch) -> np.ndarray:
            ids, mask = (torch.from_numpy(part).to(compute.device) for part in batch)
            states = model(input_ids=ids, attention_mask=mask, **options).last_hidden_state
            rows: np.ndarray = pool(states.float(), mask, shape.pooling).cpu().numpy()
            return rows

        self._compute = lambda batches: [vectors(batch) for batch in batches]


class PaddedJinaBert(Padded):
    """A jina-embeddings-v2 of the standard layout."""

    def __init__(self, folder: Path, shape: Shape, compute: Compute) -> None:
        super().__init__(folder, shape)
        self.name = "padded JinaBERT"
        self._device, self._dtype = compute.device, compute.dtype
        weights = load_file(folder / "model.safetensors", device=str(compute.device))
        self._weights = {name: tensor.to(compute.dtype) for name, tensor in weights.items()}
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self._layers = config["num_hidden_layers"]
        self._slopes = torch.tensor(slopes(config["num_attention_heads"]), device=self._device)
        self._compute = lambda batches: [self._vectors(*batch) for batch in batches]

    def close(self) -> None:
        """Free the model."""
        super().close()
        self._weights = {}

    @torch.inference_mode()
    def _vectors(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        present = torch.from_numpy(mask).bool().to(self._device)
        places = torch.arange(ids.shape[1], device=self._device)
        bias = (-(places[None, :] - places[:, None]).abs() * self._slopes[:, None, None]).to(self._dtype)[None]
        if not present.all():
            bias = bias.masked_fill(~present[:, None, None, :], -torch.inf)
        words = self._weights["embeddings.word_embeddings.weight"][torch.from_numpy(ids).to(self._device)]
        states = self._norm("embeddings.LayerNorm", words + self._weights["embeddings.token_type_embeddings.weight"][0])
        for layer in range(self._layers):
            states = self._layer(f"encoder.layer.{layer}", states, bias)
        rows: np.ndarray = pool(states.float(), present, "mean").cpu().numpy()
        return rows

    def _layer(self, name: str, states: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        heads = [
            self._linear(f"{name}.attention.self.{part}", states).unflatten(2, (len(self._slopes), -1)).transpose(1, 2)
            for part in ("query", "key", "value")
        ]
        attended = functional.scaled_dot_product_attention(*heads, attn_mask=bias).transpose(1, 2).flatten(2)
        states = self._norm(
            f"{name}.attention.output.LayerNorm", self._linear(f"{name}.attention.output.dense", attended) + states
        )
        gate, up = functional.linear(states, self._weights[f"{name}.mlp.gated_layers.weight"]).chunk(2, -1)
        out = self._linear(f"{name}.mlp.wo", functional.gelu(gate) * up)
        return self._norm(f"{name}.mlp.layernorm", out + states)

    def _linear(self, name: str, states: torch.Tensor) -> torch.Tensor:
        return functional.linear(states, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _norm(self, name: str, states: torch.Tensor) -> torch.Tensor:
        size = states.shape[-1:]
        return functional.layer_norm(
            states, size, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"], eps=1e-12
        )
