"""Reranking in this process: the door to a loaded model."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from qwen_embed_integrations.errors import ModelLoadError
from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles
from qwen_embed_integrations.local.checkpoint.prompts import encode_prompts
from qwen_embed_integrations.local.checkpoint.rerank_profile import architecture_of, read_rerank_profile
from qwen_embed_integrations.local.checkpoint.tokenizer import Tokenizer
from qwen_embed_integrations.local.checkpoint.tokenizer_checks import require_marks
from qwen_embed_integrations.local.device import choose_device, choose_dtype, choose_token_budget, describe_device
from qwen_embed_integrations.local.forward.pair_scores import PairScores
from qwen_embed_integrations.local.forward.prompted_scores import PromptedScores
from qwen_embed_integrations.local.loading import kernels_of, load_model
from qwen_embed_integrations.local.scheduler.windows import Windows
from qwen_embed_integrations.local.scheduler.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
    from pathlib import Path

    from transformers import PreTrainedModel

    from qwen_embed_integrations.engine import Batch, Usage
    from qwen_embed_integrations.local.sequences import Tokens
    from qwen_embed_integrations.options import LocalOptions
    from qwen_embed_integrations.profiles import RerankProfile


class LocalRerankEngine:
    """Scores documents against a query in this process.

    Attributes:
        profile: What the model wants.
    """

    def __init__(
        self,
        files: CheckpointFiles,
        profile: RerankProfile,
        model: PreTrainedModel,
        tokenizer: Tokenizer,
        *,
        token_budget: int,
    ) -> None:
        prompted = profile.method == "token_logits"
        scores = PromptedScores(model, profile, tokenizer) if prompted else PairScores(files, model, tokenizer)
        self._windows = Windows(Worker(scores, token_budget, scores.capabilities))
        self._tokenizer = tokenizer
        self._facts: dict[str, str | int | None] = {
            "device": describe_device(model.device),
            "dtype": str(model.dtype).removeprefix("torch."),
            "kernels": kernels_of(model),
            "pooling": "last" if prompted else None,
            "max_tokens": tokenizer.max_tokens,
        }
        self.profile = profile

    @classmethod
    def load(cls, model: str | Path, profile: RerankProfile | None, options: LocalOptions) -> LocalRerankEngine:
        """Load a model; see `Reranker.local`."""
        device = choose_device(options.device)
        dtype = choose_dtype(options.dtype, device)
        token_budget = choose_token_budget(options.token_budget, device)
        files = CheckpointFiles(model, options.revision)
        if files.model_type == "jina_bert":  # as the plain BERT its config names, it would be half random
            raise ModelLoadError(
                f"`model` {files.name!r} is a JinaBERT, which is loaded for embeddings only (Embedder.local), not as a "
                "reranker. Serve it where its own code runs, and use Reranker.served."
            )
        known = profile or read_rerank_profile(files)
        tokenizer = Tokenizer(files, max_tokens=known.max_tokens, long_text=options.long_text)
        prompted = known.method == "token_logits"
        if prompted:
            require_marks(files, tokenizer.raw, known.lead("") + known.tail)
        classifies = not prompted or architecture_of(files).endswith("ForSequenceClassification")
        model_class = AutoModelForSequenceClassification if classifies else AutoModelForCausalLM
        loaded = load_model(model_class, files, device=device, dtype=dtype, packs=prompted)
        if classifies and loaded.config.num_labels != 1:
            raise ModelLoadError(
                f"`model` {files.name!r} classifies into {loaded.config.num_labels} labels; a reranker has one."
            )
        return cls(files, known, loaded, tokenizer, token_budget=token_budget)

    @property
    def usage(self) -> Usage:
        """Tokens so far."""
        return self._windows.usage

    def describe(self) -> dict[str, str | int | None]:
        """Tell device, dtype, kernels, pooling, most tokens of a text, and tokens in one forward pass by now."""
        return {**self._facts, "token_budget": self._windows.token_budget}

    def rerank(self, query: str, documents: Sequence[str], instruction: str | None) -> Iterator[Batch]:
        """Yield scores in parts."""
        return self._windows.run(documents, self._tokenize_with(query, instruction))

    def arerank(self, query: str, documents: Sequence[str], instruction: str | None) -> AsyncGenerator[Batch, None]:
        """Yield scores in parts."""
        return self._windows.arun(documents, self._tokenize_with(query, instruction))

    def _tokenize_with(self, query: str, instruction: str | None) -> Callable[[Sequence[str]], Tokens]:
        if self.profile.method == "token_logits":
            return partial(encode_prompts, self._tokenizer, self.profile, query, instruction)
        return partial(self._tokenizer.encode_pairs, query)

    def close(self) -> None:
        """Free the model's memory when the documents in flight are scored; later use is a `ClosedError`."""
        self._windows.close()

    async def aclose(self) -> None:
        """Free the model's memory; see `close`."""
        await self._windows.aclose()
