"""Where each sequence lies among those laid end to end."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import torch

from qwen_embed_integrations.local.forward.transfer import to_device

if TYPE_CHECKING:
    from collections.abc import Sequence

# Which token's state of each sequence is wanted, if not all are.
Wanted = Literal["first", "last"]


class Layout:
    """Where each sequence lies in the row.

    A row may begin with a prefix that all its sequences share, laid once. The sequences then hold what follows.

    Attributes:
        lengths: Tokens of each sequence, in order, without the shared prefix.
        starts: Where each begins.
        shared: Tokens of the prefix.
        device: Where the row is.
        wanted: Which state of each sequence is wanted; None for all. It reads the whole sequence.
        plans: What attention functions work out once and use in every layer.
        honoured: Whether any attention has kept to this layout yet.
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
        self.honoured = self.cut = False
        self._bounds = torch.tensor([shared, *lengths]).cumsum(0)
        self.starts: list[int] = self._bounds[:-1].tolist()

    @cached_property
    def offsets(self) -> torch.Tensor:
        """Where the sequences begin, and where the last one ends, shape `(n + 1,)`, on the device."""
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
        """Where the wanted token of each sequence is, shape `(n,)`, on the device."""
        return self.first_tokens if self.wanted == "first" else self.last_tokens

    @cached_property
    def query_bounds(self) -> torch.Tensor:
        """`offsets` with the shared prefix as a sequence of its own; int32, for CUDA's kernel."""
        bounds = torch.cat([torch.zeros(1, dtype=torch.int64), self._bounds]) if self.shared else self._bounds
        return to_device(bounds.to(torch.int32), self.device)

    @cached_property
    def keys(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Which tokens the prefix and each sequence read, and where theirs begin among them, for CUDA's kernel.

        Indices into the row (int64), in which the prefix stands before every sequence, and bounds (int32).
        """
        prefix = torch.arange(self.shared)
        pieces = [prefix]
        for start, length in zip(self.starts, self.lengths, strict=True):
            pieces += [prefix, torch.arange(start, start + length)]
        bounds = torch.tensor([0, self.shared, *(self.shared + length for length in self.lengths)]).cumsum(0)
        return to_device(torch.cat(pieces), self.device), to_device(bounds.to(torch.int32), self.device)
