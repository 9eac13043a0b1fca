"""Scores of cross-encoders: a classification head over query and document in one sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from qwen_embed_integrations.errors import ModelLoadError
from qwen_embed_integrations.local.forward.packed import padded
from qwen_embed_integrations.local.forward.transfer import to_host
from qwen_embed_integrations.local.sequences import Capabilities

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel

    from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles
    from qwen_embed_integrations.local.checkpoint.tokenizer import Tokenizer
    from qwen_embed_integrations.local.sequences import Pending, TokenBatch
    from qwen_embed_integrations.vectors import Float32


class PairScores:
    """Computes the scores of `Pair`s.

    Args:
        files: The checkpoint, which says what turns logits into scores.
        model: The loaded classifier.
        tokenizer: Knows how to pad, and whether the model reads token types.

    Attributes:
        capabilities: How a batch is computed.

    Raises:
        ModelLoadError: If the checkpoint asks for a prompt, or an activation that is not one of torch's.
    """

    capabilities = Capabilities(padded=True)

    def __init__(self, files: CheckpointFiles, model: PreTrainedModel, tokenizer: Tokenizer) -> None:
        _require_no_prompt(files)
        self._activation = _activation(files)
        self._model = model
        self._pad = tokenizer.pad
        self._typed = "token_type_ids" in tokenizer.raw.model_input_names

    @torch.inference_mode()
    def __call__(self, batch: TokenBatch) -> Float32 | Pending:
        """Compute scores, shape `(n,)`."""
        pairs = batch.sequences
        ids, mask = padded([pair.ids for pair in pairs], self._pad, self._model.device)
        types = {}
        if self._typed:
            types["token_type_ids"], _ = padded([pair.types for pair in pairs], 0, self._model.device)
        logits = self._model(input_ids=ids, attention_mask=mask, **types).logits
        return to_host(self._activation(logits[:, 0].float()))


def _activation(files: CheckpointFiles) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what turns logits into scores: the checkpoint's own choice, else a sigmoid, as CrossEncoder does."""
    settings = files.read_json("config_sentence_transformers.json") or {}
    stored = settings.get("activation_fn") or (files.config.get("sentence_transformers") or {}).get("activation_fn")
    name = str(stored or files.config.get("sbert_ce_default_activation_function") or "torch.nn.Sigmoid")
    activation = getattr(torch.nn, name.rpartition(".")[2], None) if name.startswith("torch.nn.") else None
    if activation is None:
        raise ModelLoadError(f"`model` {files.name!r} asks for the activation {name!r}, which is not one of torch's.")
    made: Callable[[torch.Tensor], torch.Tensor] = activation()
    return made


def _require_no_prompt(files: CheckpointFiles) -> None:
    settings = files.read_json("config_sentence_transformers.json") or {}
    prompt = (settings.get("prompts") or {}).get(settings.get("default_prompt_name"))
    if prompt:
        raise ModelLoadError(
            f"`model` {files.name!r} puts the prompt {prompt!r} before its pairs, which is not supported for "
            "cross-encoders."
        )
