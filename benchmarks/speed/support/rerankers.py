"""This package's reranker and its peers, each loaded from the same checkpoint in the same precision."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
import transformers

from qwen_embed_integrations import Reranker, RerankProfile, profile_for
from support.shapes import SHAPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.options import Compute

NAME = "Qwen3-Reranker-0.6B"
SHAPE = replace(SHAPES["qwen3"], name=NAME, head="ForCausalLM")
OURS = "Reranker.local"


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        query: The query.
        documents: What to score against it.
    """

    query: str
    documents: list[str]

    def first(self, count: int) -> Question:
        """Return the question of the first documents."""
        return replace(self, documents=self.documents[:count])


class Scorer(Protocol):
    """Something that scores documents.

    Attributes:
        name: What to call it.
    """

    name: str

    def logits(self, question: Question, batch: int | None) -> np.ndarray:
        """Return what a sigmoid would be taken of, in the order of the documents."""

    def close(self) -> None:
        """Free the model."""


class Ours:
    """`Reranker.local`."""

    def __init__(self, folder: Path, compute: Compute, token_budget: int | None = None) -> None:
        self.name = OURS
        self._reranker = Reranker.local(
            folder, device=compute.device.type, dtype=compute.dtype_name, token_budget=token_budget
        )

    def logits(self, question: Question, batch: int | None) -> np.ndarray:  # noqa: ARG002 it packs by tokens
        """Return what the sigmoid was taken of, in the order of the documents."""
        ranked = self._reranker.rerank(question.query, question.documents)
        scores = np.array([document.score for document in sorted(ranked)], np.float64)
        logits: np.ndarray = np.log(scores) - np.log1p(-scores)
        return logits

    def close(self) -> None:
        """Free the model."""
        self._reranker.close()


class Causal:
    """`CrossEncoder` on the causal checkpoint, the prompt as a chat template."""

    def __init__(self, folder: Path, compute: Compute) -> None:
        self.name = "CrossEncoder (causal)"
        known = profile()
        template = known.lead("{{ messages[0].content }}") + "{{ messages[1].content }}" + known.tail
        # Jinja would take a newline at the end away.
        self._model = _cross_encoder(folder, compute, {"chat_template": template.replace("\n", "{{ '\\n' }}")})

    def logits(self, question: Question, batch: int | None) -> np.ndarray:
        """Return what a sigmoid would be taken of, in order."""
        return _predict(self._model, [(question.query, document) for document in question.documents], batch)

    def close(self) -> None:
        """Free the model."""
        self._model = None


class Classifier:
    """`CrossEncoder` on a conversion to a classifier, pairs with the halves of the prompt."""

    def __init__(self, folder: Path, compute: Compute) -> None:
        self.name = "CrossEncoder (classifier)"
        self._model = _cross_encoder(as_classifier(folder), compute, {})

    def logits(self, question: Question, batch: int | None) -> np.ndarray:
        """Return what a sigmoid would be taken of, in order."""
        known = profile()
        before, mark, lead = known.lead(question.query).rpartition("<Document>: ")
        pairs = [(before, mark + lead + document + known.tail) for document in question.documents]
        return _predict(self._model, pairs, batch)

    def close(self) -> None:
        """Free the model."""
        self._model = None


class PaddedCausal:
    """transformers in padded batches, longest first, with the logits of the last position only."""

    def __init__(self, folder: Path, compute: Compute) -> None:
        self.name = "padded transformers (sdpa)"
        known = profile()
        self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._tokens = self._tokenizer.convert_tokens_to_ids([known.true_token, known.false_token])
        load: Any = transformers.AutoModelForCausalLM.from_pretrained
        model = load(folder, dtype=compute.dtype, attn_implementation="sdpa", local_files_only=True)
        self._model: Any = model.to(compute.device).eval()

    @torch.inference_mode()
    def logits(self, question: Question, batch: int | None) -> np.ndarray:
        """Return what a sigmoid would be taken of, in order."""
        ids = self._tokenizer(prompts(question), add_special_tokens=False, verbose=False)["input_ids"]
        longest_first = sorted(range(len(ids)), key=lambda position: -len(ids[position]))
        logits = np.empty(len(ids))
        size = batch or 1
        for start in range(0, len(ids), size):
            positions = longest_first[start : start + size]
            padded = self._tokenizer.pad(
                {"input_ids": [ids[position] for position in positions]}, padding_side="left", return_tensors="pt"
            ).to(self._model.device)
            last = self._model(**padded, logits_to_keep=1, use_cache=False).logits[:, -1, self._tokens].float()
            logits[positions] = (last[:, 0] - last[:, 1]).cpu().numpy()
        return logits

    def close(self) -> None:
        """Free the model."""
        self._model = None


def loaders(folder: Path, compute: Compute) -> list[Callable[[], Scorer]]:
    """Return what loads the peers: `CrossEncoder` both ways it can run, or what stands in where it is missing."""
    kinds = [Causal, Classifier] if find_spec("sentence_transformers") else [PaddedCausal]
    return [partial(kind, folder, compute) for kind in kinds]


def profile() -> RerankProfile:
    """Return what the model wants."""
    known = profile_for(NAME)
    if not isinstance(known, RerankProfile):
        raise TypeError(f"{NAME} is no reranker")
    return known


def prompts(question: Question) -> list[str]:
    """Return the whole prompt of each document."""
    known = profile()
    return [known.lead(question.query) + document + known.tail for document in question.documents]


@contextmanager
def counting_tokens() -> Iterator[list[int]]:
    """Collect how many tokens models look up meanwhile, padding included, pass by pass."""
    counts: list[int] = []

    def count(module: torch.nn.Module, inputs: Any) -> None:
        if isinstance(module, torch.nn.Embedding):
            counts.append(inputs[0].numel())

    hook = torch.nn.modules.module.register_module_forward_pre_hook(count)
    try:
        yield counts
    finally:
        hook.remove()


def _cross_encoder(folder: Path, compute: Compute, processor: dict[str, str]) -> Any:
    from sentence_transformers import CrossEncoder  # noqa: PLC0415 missing on a bare machine

    return CrossEncoder(
        str(folder),
        device=compute.device.type,
        activation_fn=torch.nn.Identity(),
        model_kwargs={"dtype": compute.dtype},
        processor_kwargs=processor,
        local_files_only=True,
    )


def _predict(model: Any, pairs: list[tuple[str, str]], batch: int | None) -> np.ndarray:
    return np.asarray(model.predict(pairs, batch_size=batch or 32, show_progress_bar=False), np.float64)


def as_classifier(folder: Path) -> Path:
    """Convert the causal checkpoint, once: one row for the head, the difference of those of yes and no."""
    made = folder / "classifier"
    if made.is_dir():
        return made
    causal: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="auto", local_files_only=True)
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    known = profile()
    rows = causal.get_output_embeddings().weight.detach()
    yes, no = (rows[token] for token in tokenizer.convert_tokens_to_ids([known.true_token, known.false_token]))
    causal.config.num_labels = 1
    causal.config.pad_token_id = tokenizer.pad_token_id
    with torch.device("meta"):
        model: Any = transformers.AutoModelForSequenceClassification.from_config(causal.config)
    model.set_input_embeddings(causal.get_input_embeddings())
    setattr(model, model.base_model_prefix, causal.base_model)
    # In float32, or the difference would be rounded before anything is computed.
    model.score.weight = torch.nn.Parameter((yes.float() - no.float()).unsqueeze(0))
    model.save_pretrained(made)
    tokenizer.save_pretrained(made)
    return made
