"""This package's reranker and sentence-transformers', each loaded from the same checkpoint in the same precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers
from sentence_transformers import CrossEncoder

from qwen_embed_integrations import Reranker, RerankProfile, profile_for

if TYPE_CHECKING:
    from pathlib import Path

NAME = "Qwen3-Reranker-0.6B"
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


class Ours:
    """`Reranker.local`."""

    name = OURS

    def __init__(self, folder: Path, dtype: torch.dtype, token_budget: int | None = None) -> None:
        named = str(dtype).removeprefix("torch.")
        self._reranker = Reranker.local(folder, device="cpu", dtype=named, token_budget=token_budget)

    def logits(self, question: Question, batch: int | None) -> np.ndarray:  # noqa: ARG002 it packs by tokens
        """Return what the sigmoid was taken of, in the order of the documents."""
        ranked = self._reranker.rerank(question.query, question.documents)
        scores = np.array([each.score for each in sorted(ranked)], np.float64)
        found: np.ndarray = np.log(scores) - np.log1p(-scores)
        return found

    def close(self) -> None:
        """Free the model."""
        self._reranker.close()


class Causal:
    """`CrossEncoder` on the causal checkpoint, the prompt as a chat template."""

    name = "CrossEncoder (causal)"

    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        known = profile()
        template = known.lead("{{ messages[0].content }}") + "{{ messages[1].content }}" + known.tail
        # Jinja would take a newline at the end away.
        self._model = _cross_encoder(folder, dtype, {"chat_template": template.replace("\n", "{{ '\\n' }}")})

    def logits(self, question: Question, batch: int | None) -> np.ndarray:
        """Return what a sigmoid would be taken of, in order."""
        return _predict(self._model, [(question.query, each) for each in question.documents], batch)


class Classifier:
    """`CrossEncoder` on a conversion to a classifier, pairs with the halves of the prompt."""

    name = "CrossEncoder (classifier)"

    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        self._model = _cross_encoder(as_classifier(folder), dtype, {})

    def logits(self, question: Question, batch: int | None) -> np.ndarray:
        """Return what a sigmoid would be taken of, in order."""
        known = profile()
        before, mark, lead = known.lead(question.query).rpartition("<Document>: ")
        pairs = [(before, mark + lead + each + known.tail) for each in question.documents]
        return _predict(self._model, pairs, batch)


def profile() -> RerankProfile:
    """Return what the model wants."""
    found = profile_for(NAME)
    if not isinstance(found, RerankProfile):
        raise TypeError(f"{NAME} is no reranker")
    return found


def _cross_encoder(folder: Path, dtype: torch.dtype, processor: dict[str, str]) -> Any:
    return CrossEncoder(
        str(folder),
        device="cpu",
        activation_fn=torch.nn.Identity(),
        model_kwargs={"dtype": dtype},
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
    yes, no = (rows[tokenizer.convert_tokens_to_ids(each)] for each in (known.true_token, known.false_token))
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
