"""Where each sequence lies among those laid end to end."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import torch

from qwen_embed_integrations.local.forward.transfer import to_device

if TYPE_CHECKING:
    from collections.abc import Sequence

# Which token of each sequence is asked for, if not all are.
Wanted = Literal["first", "last"]


class Layout:
    """Where each sequence lies in the row.

    A row may begin with tokens that all its sequences begin with, laid once. The sequences then hold what follows.

    Attributes:
        lengths: Tokens of each sequence, in order, without the shared ones.
        starts: Where each begins.
        shared: Tokens at the beginning of the row that every sequence continues.
        device: Where the row is.
        wanted: Which state of each sequence is asked for; None for all. It reads the whole sequence.
        plans: What attention functions work out once and use in every layer.
        heeded: Whether any attention has kept to it yet.
        cut: Whether a layer has left out all states but those that are wanted.
    """

    def __init__(
        self, lengths: Sequence[int], device: torch.device, *, shared: int = 0, wanted: Wanted | None = None
    ) -> None:
        self.lengths = lengths
        self.shared = shared
        self.device = device
        self.wanted = wanted
        self.plans: dict[Any, Any] = {}
        self.heeded = self.cut = False
        self._bounds = torch.tensor([shared, *lengths]).cumsum(0)
        self.starts: list[int] = self._bounds[:-1].tolist()

    @cached_property
    def offsets(self) -> torch.Tensor:
        """Where the sequences begin, and where the last one ends; on the device."""
        return to_device(self._bounds, self.device)

    @cached_property
    def first_tokens(self) -> torch.Tensor:
        """Where each sequence's first token is, shape `(n,)`, on the device."""
        return self.offsets[:-1]

    @cached_property
    def last_tokens(self) -> torch.Tensor:
        """Where each sequence's last token is, shape `(n,)`, on the device."""
        return self.offsets[1:] - 1

    @property
    def wanted_tokens(self) -> torch.Tensor:
        """Where the token of each sequence is that is asked for, shape `(n,)`, on the device."""
        return self.first_tokens if self.wanted == "first" else self.last_tokens

    @cached_property
    def asking(self) -> torch.Tensor:
        """`offsets` with the shared tokens as a sequence of their own; int32, for CUDA's kernel."""
        bounds = torch.cat([torch.zeros(1, dtype=torch.int64), self._bounds]) if self.shared else self._bounds
        return to_device(bounds.to(torch.int32), self.device)

    @cached_property
    def read(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Which tokens each sequence reads, and where its own begin among them (int32), for CUDA's kernel."""
        beginning = torch.arange(self.shared)
        pieces = [beginning]
        for start, length in zip(self.starts, self.lengths, strict=True):
            pieces += [beginning, torch.arange(start, start + length)]
        bounds = torch.tensor([0, self.shared, *(self.shared + length for length in self.lengths)]).cumsum(0)
        return to_device(torch.cat(pieces), self.device), to_device(bounds.to(torch.int32), self.device)
