"""JinaBERT in padded batches, straight from its mathematics: what a plain implementation does.

transformers 5 has no code for it, so no peer loads it; this stands in. One bias of distances for all, torch's own
attention, padding masked.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch.nn import functional

from qwen_embed_integrations.local.forward.alibi import slopes
from support.compiled import Padded

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from support.shapes import Shape


class PaddedJinaBert(Padded):
    """A jina-embeddings-v2 of the standard layout."""

    def __init__(self, folder: Path, shape: Shape, dtype: torch.dtype) -> None:
        super().__init__(folder, shape)
        self.name = "padded batches" + (" (fp32)" if dtype == torch.float32 else "")
        self._weights = {name: tensor.to(dtype) for name, tensor in load_file(folder / "model.safetensors").items()}
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self._layers = config["num_hidden_layers"]
        self._slopes = torch.tensor(slopes(config["num_attention_heads"]))
        self._dtype = dtype
        self._compute = lambda batches: [self._vectors(*batch) for batch in batches]

    def close(self) -> None:
        """Free the model."""
        super().close()
        self._weights = {}

    @torch.inference_mode()
    def _vectors(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        seen = torch.from_numpy(mask).bool()
        at = torch.arange(ids.shape[1])
        bias = (-(at[None, :] - at[:, None]).abs() * self._slopes[:, None, None]).to(self._dtype)[None]
        if not seen.all():
            bias = bias.masked_fill(~seen[:, None, None, :], -torch.inf)
        words = self._weights["embeddings.word_embeddings.weight"][torch.from_numpy(ids)]
        states = self._norm("embeddings.LayerNorm", words + self._weights["embeddings.token_type_embeddings.weight"][0])
        for layer in range(self._layers):
            states = self._layer(f"encoder.layer.{layer}", states, bias)
        weights = seen[:, :, None]
        pooled = (states.float() * weights).sum(1) / weights.sum(1)
        found: np.ndarray = functional.normalize(pooled).numpy()
        return found

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
