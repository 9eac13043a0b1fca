"""Token sequences through a transformers model, without padding where its code allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from qwen_embed_integrations.errors import ModelLoadError
from qwen_embed_integrations.local.architectures import FAMILIES, family_of, first_position
from qwen_embed_integrations.local.forward.attention import PACKED
from qwen_embed_integrations.local.forward.layout import Layout
from qwen_embed_integrations.local.forward.transfer import end_to_end, to_device
from qwen_embed_integrations.local.sequences import Capabilities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

    from qwen_embed_integrations.local.forward.layout import Wanted


def attention_for(config: dict[str, Any]) -> str | None:
    """Return the attention implementation to load a model with; None for transformers' own choice."""
    return PACKED if family_of(config) else None


class TokenStates:
    """Last hidden states of a batch of sequences, laid end to end.

    Attributes:
        hidden: Shape `(tokens, size)`; of those that `layout` says are wanted, `(n, size)`, if all others were cut.
        layout: Where each sequence lies; what they share is no part of them, so only `last` may be asked for then.
    """

    def __init__(self, hidden: torch.Tensor, layout: Layout) -> None:
        self.hidden = hidden
        self.layout = layout

    def first(self) -> torch.Tensor:
        """Return the first state of each sequence, shape `(n, size)`."""
        return self.hidden if self.layout.cut else self.hidden[self.layout.first_tokens]

    def last(self) -> torch.Tensor:
        """Return the last state of each sequence, shape `(n, size)`."""
        return self.hidden if self.layout.cut else self.hidden[self.layout.last_tokens]

    def mean(self) -> torch.Tensor:
        """Return the float32 mean over each sequence, shape `(n, size)`."""
        lengths = self.layout.offsets.diff()
        owners = torch.arange(len(lengths), device=lengths.device).repeat_interleave(
            lengths, output_size=len(self.hidden)
        )
        sums = torch.zeros(len(lengths), self.hidden.shape[1], device=self.hidden.device)
        return sums.index_add_(0, owners, self.hidden.float()) / lengths.unsqueeze(1)


def runs_packed(model: PreTrainedModel) -> bool:
    """Tell whether a model was loaded to run without padding."""
    return bool(model.config._attn_implementation == PACKED)  # noqa: SLF001 transformers has no public name for it


def capabilities(model: PreTrainedModel, *, wanted: Wanted | None = None) -> Capabilities:
    """Return how `token_states` computes a batch with a model.

    Args:
        model: A base model, loaded with `attention_for`'s answer.
        wanted: Which state of each sequence is asked for, if not all are.
    """
    packed = runs_packed(model)
    return Capabilities(
        padded=not packed,
        # What others begin with can be computed once where their states depend on nothing behind it.
        shares_prefix=packed and wanted == "last" and _is_causal(model),
        # Code that packs keeps no state between passes; of other architectures that is not known.
        side_by_side=packed and model.device.type == "cpu",
    )


def _is_causal(model: PreTrainedModel) -> bool:
    family = FAMILIES.get(model.config.model_type)
    return family is not None and family.causal and getattr(model.config, "is_causal", None) is not False


def token_states(
    model: PreTrainedModel,
    sequences: Sequence[list[int]],
    pad: int,
    *,
    shared: int = 0,
    wanted: Wanted | None = None,
) -> TokenStates:
    """Run sequences through a model in one pass.

    Args:
        model: A base model, loaded with `attention_for`'s answer.
        sequences: Token ids.
        pad: Token id for padding, where the model must be padded.
        shared: How many tokens all sequences begin with, to be computed once. Only for a model that shares a prefix.
        wanted: Which state of each sequence is asked for, if not all are. What the others come to in the last layer is
            then not computed.

    Returns:
        The last hidden state of every token, or of those that are wanted; of shared tokens once.
    """
    if not runs_packed(model):
        layout = Layout([*map(len, sequences)], model.device)
        return TokenStates(_padded(model, sequences, pad), layout)
    lengths = [len(sequence) - shared for sequence in sequences]
    # A first token of a causal model does not read its sequence.
    reads_all = wanted == "last" or not _is_causal(model)
    layout = Layout(lengths, model.device, shared=shared, wanted=wanted if reads_all else None)
    return TokenStates(_packed(model, sequences, layout), layout)


def _packed(model: PreTrainedModel, sequences: Sequence[list[int]], layout: Layout) -> torch.Tensor:
    first, shared = first_position(model.config.model_type, model.config.pad_token_id), layout.shared
    ids = end_to_end([sequences[0][:shared], *(sequence[shared:] for sequence in sequences)], model.device)
    spans = [(0, shared), *((shared, length) for length in layout.lengths)]
    positions = torch.cat([torch.arange(length) + first + before for before, length in spans])
    extra: dict[str, Any] = {}
    if getattr(model.config, "type_vocab_size", 0):
        # The model's own default is a buffer only as long as its position table.
        extra["token_type_ids"] = torch.zeros_like(ids).unsqueeze(0)
    else:
        extra["use_cache"] = False
    out = model(
        input_ids=ids.unsqueeze(0), position_ids=to_device(positions, model.device).unsqueeze(0), layout=layout, **extra
    )
    if not layout.honoured:
        raise ModelLoadError(f"{type(model).__name__} attends by code of its own, so it cannot run packed.")
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
