"""Embeddings in this process: tokenize, run packed, pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AutoModel

from qwen_embed_integrations.errors import ModelLoadError
from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles
from qwen_embed_integrations.local.checkpoint.recipe import read_recipe
from qwen_embed_integrations.local.checkpoint.tokenizer import Tokenizer
from qwen_embed_integrations.local.device import choose_device, choose_dtype, choose_token_budget
from qwen_embed_integrations.local.engine import LocalEngine
from qwen_embed_integrations.local.forward.jina_bert import JinaBertModel
from qwen_embed_integrations.local.forward.packed import (
    TokenStates,
    reads_forward,
    runs_packed,
    runs_side_by_side,
    token_states,
)
from qwen_embed_integrations.local.forward.transfer import to_host
from qwen_embed_integrations.local.loading import load_model

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
    from pathlib import Path

    from transformers import PreTrainedModel

    from qwen_embed_integrations.engine import Batch
    from qwen_embed_integrations.local.checkpoint.recipe import Recipe
    from qwen_embed_integrations.local.forward.layout import Wanted
    from qwen_embed_integrations.local.scheduler.worker import Pending
    from qwen_embed_integrations.options import LocalOptions
    from qwen_embed_integrations.profiles import ModelProfile, Pooling
    from qwen_embed_integrations.vectors import Float32

_POOL: dict[Pooling, Callable[[TokenStates], torch.Tensor]] = {
    "last": TokenStates.last,
    "cls": TokenStates.first,
    "mean": TokenStates.mean,
}
_WANTED: dict[Pooling, Wanted] = {"last": "last", "cls": "first"}
# Architectures that transformers has no code for.
_OWN_MODELS: dict[str, Any] = {"jina_bert": JinaBertModel}


class LocalEmbeddingEngine(LocalEngine):
    """Turns finished texts into vectors in this process.

    Attributes:
        profile: What the model wants, read from its files.
        identity: What the vectors depend on beside prompts and dimensions.
        size: Size of the vectors.
    """

    def __init__(
        self,
        files: CheckpointFiles,
        recipe: Recipe,
        model: PreTrainedModel,
        tokenizer: Tokenizer,
        *,
        token_budget: int,
    ) -> None:
        steps = [functional.normalize if path is None else _Dense(files, path, model.device) for path in recipe.steps]
        pooling = recipe.profile.pooling or "mean"
        pool, wanted = _POOL[pooling], _WANTED.get(pooling)

        @torch.inference_mode()
        def compute(sequences: Sequence[list[int]]) -> Float32 | Pending:
            pooled = pool(token_states(model, sequences, tokenizer.pad, wanted=wanted)).float()
            for step in steps:
                pooled = step(pooled)
            return to_host(pooled[:, : recipe.profile.dimensions])

        super().__init__(
            compute,
            token_budget,
            padded=not runs_packed(model),
            shares_prefix=wanted == "last" and reads_forward(model),
            side_by_side=runs_side_by_side(model),
        )
        self.profile = recipe.profile
        # Not the name: the same files are the same model wherever they lie. What a profile of that name adds counts.
        self.identity: dict[str, str | None] = {
            "files": files.digest(),
            "appended_token": recipe.profile.appended_token,
            "max_tokens": str(tokenizer.max_tokens),
        }
        self.size: int | None = recipe.profile.dimensions
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, model: str | Path, profile: ModelProfile | None, options: LocalOptions) -> LocalEmbeddingEngine:
        """Load a model; see `Embedder.local`."""
        place = choose_device(options.device)
        precision = choose_dtype(options.dtype, place)
        budget = choose_token_budget(options.token_budget, place)
        files = CheckpointFiles(model, options.revision)
        recipe = read_recipe(files, profile)
        tokenizer = Tokenizer(
            files,
            max_tokens=recipe.profile.max_tokens,
            long_text=options.long_text,
            appended_token=recipe.profile.appended_token,
            lower_case=recipe.lower_case,
        )
        model_class = _OWN_MODELS.get(files.model_type, AutoModel)
        loaded = load_model(
            model_class, files, device=place, dtype=precision, unused=("pooler.",), heads=("cls.", "lm_head.")
        )
        return cls(files, recipe, loaded, tokenizer, token_budget=budget)

    def embed(self, texts: Sequence[str]) -> Iterator[Batch]:
        """Yield vectors in parts."""
        return self.run(texts, self._tokenizer.encode)

    def aembed(self, texts: Sequence[str]) -> AsyncGenerator[Batch, None]:
        """Yield vectors in parts."""
        return self.arun(texts, self._tokenizer.encode)


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
