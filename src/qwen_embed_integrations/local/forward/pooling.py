"""Vectors: a model's token states pooled, then what the checkpoint lets follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch.nn import functional

from qwen_embed_integrations.errors import ModelLoadError
from qwen_embed_integrations.local.forward.packed import TokenStates, capabilities, token_states
from qwen_embed_integrations.local.forward.transfer import to_host

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel

    from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles
    from qwen_embed_integrations.local.checkpoint.recipe import Recipe
    from qwen_embed_integrations.local.forward.layout import Wanted
    from qwen_embed_integrations.local.sequences import Pending, TokenBatch
    from qwen_embed_integrations.profiles import Pooling
    from qwen_embed_integrations.vectors import Float32

# How states are pooled, and which state of each sequence is all that this needs.
_POOLINGS: dict[Pooling, tuple[Callable[[TokenStates], torch.Tensor], Wanted | None]] = {
    "last": (TokenStates.last, "last"),
    "cls": (TokenStates.first, "first"),
    "mean": (TokenStates.mean, None),
}


class PooledVectors:
    """Computes the vectors of token sequences.

    Args:
        files: The checkpoint, for its dense layers.
        recipe: How token vectors become text vectors.
        model: The loaded base model.
        pad: Token id for padding.

    Attributes:
        pooling: How states are pooled.
        capabilities: How a batch is computed.

    Raises:
        ModelLoadError: If a dense layer is of an unsupported form.
    """

    def __init__(self, files: CheckpointFiles, recipe: Recipe, model: PreTrainedModel, pad: int) -> None:
        self.pooling: Pooling = recipe.profile.pooling or "mean"
        self._pool, self._wanted = _POOLINGS[self.pooling]
        self.capabilities = capabilities(model, wanted=self._wanted)
        self._steps = [
            functional.normalize if path is None else _Dense(files, path, model.device) for path in recipe.steps
        ]
        self._model = model
        self._pad = pad
        self._size = recipe.profile.dimensions

    @torch.inference_mode()
    def __call__(self, batch: TokenBatch) -> Float32 | Pending:
        """Compute vectors, shape `(n, size)`."""
        states = token_states(self._model, batch.sequences, self._pad, shared=batch.shared, wanted=self._wanted)
        pooled = self._pool(states).float()
        for step in self._steps:
            pooled = step(pooled)
        return to_host(pooled[:, : self._size])


class _Dense:
    """A sentence-transformers Dense module: a linear layer and an activation."""

    def __init__(self, files: CheckpointFiles, path: str, device: torch.device) -> None:
        settings: dict[str, Any] = files.read_json(f"{path}/config.json")
        if settings.get("use_residual") or settings.get("module_input_name", "sentence_embedding") != (
            "sentence_embedding"
        ):
            raise ModelLoadError(f"`model` {files.name!r} has a Dense module at {path!r} of an unsupported form.")
        name = str(settings.get("activation_function", "torch.nn.modules.activation.Tanh"))
        activation = getattr(torch.nn, name.rpartition(".")[2], None) if name.startswith("torch.nn.") else None
        weights = files.folder / path / "model.safetensors"
        if activation is None or not weights.is_file():
            raise ModelLoadError(
                f"`model` {files.name!r} has a Dense module at {path!r} whose activation ({name}) is unknown or whose "
                "model.safetensors is missing."
            )
        tensors = load_file(weights, device=str(device))
        self._weight = tensors["linear.weight"].float()
        self._bias = tensors["linear.bias"].float() if "linear.bias" in tensors else None
        self._activation = activation()

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self._activation(functional.linear(rows, self._weight, self._bias))
        return out
