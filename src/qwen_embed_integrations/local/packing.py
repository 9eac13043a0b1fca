"""Token sequences through a transformers model, without padding where its code allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from qwen_embed_integrations.local.attention import PACKED
from qwen_embed_integrations.local.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

# Families whose position ids begin behind the padding id.
ROBERTA = frozenset({"camembert", "roberta", "xlm-roberta"})
# Families whose code runs packed: position ids are an argument, all attention goes through transformers' attention
# interface, and nothing else mixes tokens. Other families run padded.
_PACKS = frozenset({"bert", "qwen2", "qwen3"}) | ROBERTA


def attention_for(config: dict[str, Any]) -> str | None:
    """Return the attention implementation to load a model with; None for transformers' own choice."""
    sliding = config.get("use_sliding_window") or "sliding_attention" in (config.get("layer_types") or ())
    relative = config.get("position_embedding_type", "absolute") != "absolute"
    packs = config.get("model_type") in _PACKS and not sliding and not relative
    return PACKED if packs else None


def first_position(config: dict[str, Any]) -> int:
    """Return the position id of a sequence's first token."""
    return int(config.get("pad_token_id") or 0) + 1 if config.get("model_type") in ROBERTA else 0


class TokenStates:
    """Last hidden states of a batch of sequences, laid end to end.

    Attributes:
        hidden: Shape `(tokens, size)`.
        layout: Where each sequence lies.
    """

    def __init__(self, hidden: torch.Tensor, layout: Layout) -> None:
        self.hidden = hidden
        self.layout = layout

    def first(self) -> torch.Tensor:
        """Return the first state of each sequence, shape `(n, size)`."""
        return self.hidden[self.layout.offsets[:-1]]

    def last(self) -> torch.Tensor:
        """Return the last state of each sequence, shape `(n, size)`."""
        return self.hidden[self.layout.offsets[1:] - 1]

    def mean(self) -> torch.Tensor:
        """Return the float32 mean over each sequence, shape `(n, size)`."""
        lengths = self.layout.offsets.diff()
        owners = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)
        sums = torch.zeros(len(lengths), self.hidden.shape[1], device=self.hidden.device)
        return sums.index_add_(0, owners, self.hidden.float()) / lengths.unsqueeze(1)


def runs_packed(model: PreTrainedModel) -> bool:
    """Tell whether a model was loaded to run without padding."""
    return bool(model.config._attn_implementation == PACKED)  # noqa: SLF001 transformers has no public name for it


def token_states(model: PreTrainedModel, sequences: Sequence[Sequence[int]], pad: int) -> TokenStates:
    """Run sequences through a model in one pass.

    Args:
        model: A base model, loaded with `attention_for`'s answer.
        sequences: Token ids.
        pad: Token id for padding, where the model must be padded.

    Returns:
        The last hidden state of every token.
    """
    layout = Layout([len(sequence) for sequence in sequences], model.device)
    if runs_packed(model):
        return TokenStates(_packed(model, sequences, layout), layout)
    return TokenStates(_padded(model, sequences, pad), layout)


def _packed(model: PreTrainedModel, sequences: Sequence[Sequence[int]], layout: Layout) -> torch.Tensor:
    first = first_position(model.config.to_dict())
    ids = torch.tensor([token for sequence in sequences for token in sequence], device=model.device)
    positions = torch.cat([torch.arange(first, first + length) for length in layout.lengths]).to(model.device)
    extra: dict[str, Any] = {}
    if getattr(model.config, "type_vocab_size", 0):
        # The model's own default is a buffer only as long as its position table.
        extra["token_type_ids"] = torch.zeros_like(ids).unsqueeze(0)
    else:
        extra["use_cache"] = False
    out = model(input_ids=ids.unsqueeze(0), position_ids=positions.unsqueeze(0), layout=layout, **extra)
    hidden: torch.Tensor = out.last_hidden_state[0]
    return hidden


def _padded(model: PreTrainedModel, sequences: Sequence[Sequence[int]], pad: int) -> torch.Tensor:
    ids, mask = padded(sequences, pad, model.device)
    hidden: torch.Tensor = model(input_ids=ids, attention_mask=mask).last_hidden_state
    return hidden[mask.bool()]


def padded(sequences: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return sequences as rows of one length, padded on the right, and their attention mask."""
    longest = max(map(len, sequences))
    ids = [[*sequence, *[pad] * (longest - len(sequence))] for sequence in sequences]
    mask = [[1] * len(sequence) + [0] * (longest - len(sequence)) for sequence in sequences]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)
