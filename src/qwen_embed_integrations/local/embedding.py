"""Embeddings in this process: the door to a loaded model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import AutoModel

from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles
from qwen_embed_integrations.local.checkpoint.recipe import read_recipe
from qwen_embed_integrations.local.checkpoint.tokenizer import Tokenizer
from qwen_embed_integrations.local.device import choose_device, choose_dtype, choose_token_budget, describe_device
from qwen_embed_integrations.local.forward.jina_bert import JinaBertModel
from qwen_embed_integrations.local.forward.pooling import PooledVectors
from qwen_embed_integrations.local.loading import kernels_of, load_model
from qwen_embed_integrations.local.scheduler.windows import Windows
from qwen_embed_integrations.local.scheduler.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence
    from pathlib import Path

    from transformers import PreTrainedModel

    from qwen_embed_integrations.engine import Batch, Usage
    from qwen_embed_integrations.local.checkpoint.recipe import Recipe
    from qwen_embed_integrations.options import LocalOptions
    from qwen_embed_integrations.profiles import ModelProfile

# Architectures that transformers has no code for, by `model_type`.
_OWN_MODELS: dict[str, Any] = {"jina_bert": JinaBertModel}


class LocalEmbeddingEngine:
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
        vectors = PooledVectors(files, recipe, model, tokenizer.pad)
        self._windows = Windows(Worker(vectors, token_budget, vectors.capabilities))
        self._tokenizer = tokenizer
        self._facts: dict[str, str | int | None] = {
            "device": describe_device(model.device),
            "dtype": str(model.dtype).removeprefix("torch."),
            "kernels": kernels_of(model),
            "pooling": vectors.pooling,
            "max_tokens": tokenizer.max_tokens,
        }
        self.profile = recipe.profile
        # Not the name: the same files are the same model wherever they lie. What a profile of that name adds counts.
        self.identity: dict[str, str | None] = {
            "files": files.digest(),
            "appended_token": recipe.profile.appended_token,
            "max_tokens": str(tokenizer.max_tokens),
        }
        self.size: int | None = recipe.profile.dimensions

    @classmethod
    def load(cls, model: str | Path, profile: ModelProfile | None, options: LocalOptions) -> LocalEmbeddingEngine:
        """Load a model; see `Embedder.local`."""
        device = choose_device(options.device)
        dtype = choose_dtype(options.dtype, device)
        token_budget = choose_token_budget(options.token_budget, device)
        files = CheckpointFiles(model, options.revision)
        recipe = read_recipe(files, profile)
        tokenizer = Tokenizer(
            files,
            max_tokens=recipe.profile.max_tokens,
            long_text=options.long_text,
            appended_token=recipe.profile.appended_token,
            lower_case=recipe.lower_case,
        )
        loaded = load_model(
            _OWN_MODELS.get(files.model_type, AutoModel),
            files,
            device=device,
            dtype=dtype,
            unused=("pooler.",),
            heads=("cls.", "lm_head."),
        )
        return cls(files, recipe, loaded, tokenizer, token_budget=token_budget)

    @property
    def usage(self) -> Usage:
        """Tokens so far."""
        return self._windows.usage

    def describe(self) -> dict[str, str | int | None]:
        """Tell device, dtype, kernels, pooling, most tokens of a text, and tokens in one forward pass by now."""
        return {**self._facts, "token_budget": self._windows.token_budget}

    def embed(self, texts: Sequence[str]) -> Iterator[Batch]:
        """Yield vectors in parts."""
        return self._windows.run(texts, self._tokenizer.encode)

    def aembed(self, texts: Sequence[str]) -> AsyncGenerator[Batch, None]:
        """Yield vectors in parts."""
        return self._windows.arun(texts, self._tokenizer.encode)

    def close(self) -> None:
        """Free the model's memory when the texts in flight are computed; later use is a `ClosedError`."""
        self._windows.close()

    async def aclose(self) -> None:
        """Free the model's memory; see `close`."""
        await self._windows.aclose()
