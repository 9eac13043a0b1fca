"""Scores of prompts whose last position says yes or no."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch

from qwen_embed_integrations.errors import ModelLoadError
from qwen_embed_integrations.local.forward.packed import capabilities, token_states
from qwen_embed_integrations.local.forward.transfer import to_host

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from qwen_embed_integrations.local.checkpoint.tokenizer import Tokenizer
    from qwen_embed_integrations.local.sequences import Pending, TokenBatch
    from qwen_embed_integrations.profiles import RerankProfile
    from qwen_embed_integrations.vectors import Float32


class PromptedScores:
    """Computes the scores of prompts.

    Only the last position and two rows of the vocabulary matter, and what all prompts begin with, the query, is read
    once for all documents.

    Args:
        model: The loaded model with its head.
        profile: Names the two tokens.
        tokenizer: Knows their ids.

    Attributes:
        capabilities: How a batch is computed.

    Raises:
        ModelLoadError: If the tokenizer lacks one of the two tokens.
    """

    def __init__(self, model: PreTrainedModel, profile: RerankProfile, tokenizer: Tokenizer) -> None:
        self._base = cast("PreTrainedModel", model.base_model)
        self._direction = _direction(model, profile, tokenizer)
        self._pad = tokenizer.pad
        self.capabilities = capabilities(self._base, wanted="last")

    @torch.inference_mode()
    def __call__(self, batch: TokenBatch) -> Float32 | Pending:
        """Compute scores from 0 to 1, shape `(n,)`."""
        states = token_states(self._base, batch.sequences, self._pad, shared=batch.shared, wanted="last")
        return to_host(torch.sigmoid(states.last().float() @ self._direction))


def _direction(model: PreTrainedModel, profile: RerankProfile, tokenizer: Tokenizer) -> torch.Tensor:
    """Return the direction whose product with the last state is logit(true) - logit(false), in float32."""
    score = getattr(model, "score", None)
    if score is not None:  # a conversion that kept only this direction
        row: torch.Tensor = score.weight.float().squeeze(0)
        return row
    rows = [tokenizer.raw.convert_tokens_to_ids(token) for token in (profile.true_token, profile.false_token)]
    if any(row is None or row == tokenizer.raw.unk_token_id for row in rows):
        raise ModelLoadError(
            f"{profile.name} compares the tokens {profile.true_token!r} and {profile.false_token!r}, and the tokenizer "
            "does not have both."
        )
    true, false = cast("Any", model).get_output_embeddings().weight[rows].float()
    return torch.as_tensor(true - false)
