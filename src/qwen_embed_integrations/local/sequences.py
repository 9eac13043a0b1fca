"""What the scheduler and the forward pass hand each other: token sequences one way, values the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_embed_integrations.vectors import Float32

# Tokens that sequences must have in common at their beginning for it to pay to compute them once.
_MIN_SHARED = 8


@dataclass(frozen=True)
class Tokens:
    """Tokenized texts.

    Attributes:
        sequences: Token ids of each text; `Pair`s for cross-encoders.
        shortened: Positions of the texts that were cut.
    """

    sequences: Sequence[Any]
    shortened: list[int]


@dataclass(frozen=True)
class Pair:
    """Two texts in one sequence, and which token belongs to which."""

    ids: list[int]
    types: list[int]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class TokenBatch:
    """The sequences of one forward pass.

    Attributes:
        sequences: Token ids of each; `Pair`s for cross-encoders.
        shared: How many tokens all of them begin with, to be computed once. Fewer than the shortest has, and 0 unless
            the model shares a prefix.
    """

    sequences: Sequence[Any]
    shared: int = 0


@dataclass(frozen=True)
class Capabilities:
    """How a model computes a batch.

    Attributes:
        padded: Whether it pads to the longest sequence, so that padding counts too.
        shares_prefix: Whether it computes what all sequences begin with once, so that it counts once.
        side_by_side: Whether it may be called in several threads at once, on some of the cores each.
    """

    padded: bool = False
    shares_prefix: bool = False
    side_by_side: bool = False


class Pending(Protocol):
    """Values that a device is still computing."""

    def result(self) -> Float32:
        """Wait for them."""
        ...


class Compute(Protocol):
    """Turns token sequences into values, one row (or number) each.

    At once, or as something whose `result()` waits for them, so that the next batch can be launched meanwhile.
    """

    def __call__(self, batch: TokenBatch, /) -> Float32 | Pending:
        """Compute a batch."""
        ...


def common_prefix(sequences: Sequence[list[int]]) -> list[int]:
    """Return what all sequences begin with, or nothing if it is too short to pay."""
    # Between the smallest and the largest in order, all others begin with what these two have in common.
    first, last = min(sequences, default=[]), max(sequences, default=[])
    end = next((at for at, (one, other) in enumerate(zip(first, last)) if one != other), len(first))  # noqa: B905 one may be longer
    return first[:end] if end >= _MIN_SHARED else []
