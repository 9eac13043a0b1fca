"""Linear layers for a CPU, multiplied by whichever of torch's libraries is faster there, and what follows the product.

oneDNN has operators that keep weights in the order it multiplies them in and do what follows a product with it; they
are those that `torch.compile` puts into frozen models, and need no compiler when they are called directly. Where they
are slower than the library behind `torch.nn.Linear`, as MKL is faster on CPUs without AVX-512, the weights stay as they
are.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.nn import functional

from qwen_embed_integrations.local.forward.row_counts import padded, rounded_up

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    # What can follow a product, as oneDNN names it.
    Activation = Literal["none", "gelu", "relu", "swish"]

# Rows from which on MKL multiplies faster than oneDNN does with weights in their usual order (two cores of AVX2,
# float32: even at 64 to 128 rows; of 4 rows half as fast).
_MANY_ROWS = 96
_IN_PLACE: dict[Activation, Callable[[torch.Tensor], torch.Tensor]] = {
    "none": lambda states: states,
    "gelu": torch.ops.aten.gelu_,
    "relu": torch.relu_,
    "swish": torch.ops.aten.silu_,
}


class FastLinear(nn.Module):
    """A linear layer and what follows it.

    Args:
        layer: What it takes the place of; its weights go over to this one.
        then: The activation behind it.
    """

    def __init__(self, layer: nn.Linear, then: Activation = "none") -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.bias = layer.bias
        self._then = then

    def with_other(self, states: torch.Tensor, other: torch.Tensor, operation: Literal["add", "mul"]) -> torch.Tensor:
        """Return the product with another tensor added or multiplied to it."""
        raise NotImplementedError


class PlainLinear(FastLinear):
    """One with the weights in their usual order."""

    def __init__(self, layer: nn.Linear, then: Activation = "none") -> None:
        super().__init__(layer, then)
        self.weight = layer.weight
        self._onednn = has_onednn(layer.weight.dtype)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return the product and what follows it, shape `(..., out_features)`."""
        return _IN_PLACE[self._then](self._product(states))

    def with_other(self, states: torch.Tensor, other: torch.Tensor, operation: Literal["add", "mul"]) -> torch.Tensor:
        """Return the product with another tensor added or multiplied to it."""
        out = self._product(states)
        return out.add_(other) if operation == "add" else out.mul_(other)

    def _product(self, states: torch.Tensor) -> torch.Tensor:
        if self._onednn and states.numel() < _MANY_ROWS * self.in_features:
            return _pointwise(states, self.weight, self.bias, "none")
        return functional.linear(states, self.weight, self.bias)


class PrepackedLinear(FastLinear):
    """One with the weights in the order oneDNN multiplies them in."""

    def __init__(self, layer: nn.Linear, then: Activation = "none") -> None:
        super().__init__(layer, then)
        self._packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())  # noqa: SLF001 see has_onednn
        del layer.weight  # before the next one is copied

    @property
    def weight(self) -> torch.Tensor:
        """The weights in their usual order, for code that reads them."""
        dense: torch.Tensor = self._packed.to_dense()
        return dense

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return the product and what follows it, shape `(..., out_features)`."""
        return _pointwise(states, self._packed, self.bias, self._then)

    def with_other(self, states: torch.Tensor, other: torch.Tensor, operation: Literal["add", "mul"]) -> torch.Tensor:
        """Return the product with another tensor added or multiplied to it."""
        # Named in full: to tell overloads apart, torch would print the tensors.
        product = torch.ops.mkldnn._linear_pointwise.binary  # noqa: SLF001 see has_onednn
        rows, many = _rows(states)
        if many == rows:
            out: torch.Tensor = product(states, other, self._packed, self.bias, operation)
            return out
        states, others = padded(states.reshape(rows, -1), many), padded(other.reshape(rows, -1), many)
        out = product(states, others, self._packed, self.bias, operation)
        return out[:rows].view(other.shape)


# Which layers are faster, by precision and by what the processor has, one of which is enough. Chosen from here and not
# by trial, since the two round differently: bfloat16 vectors would differ by up to 1e-3 from one start to the next.
# GFLOP/s are of one core, products of 384 x 1,536 to 1,024 x 4,096, torch 2.13.
_PREPACKED_IS_FASTER: tuple[tuple[torch.dtype, tuple[str, ...]], ...] = (
    # 475 to 530 against 420 to 500 plainly with 256 to 1,024 rows (1.03 to 1.17 times), 1.4 to 2.1 times with 4 and 16.
    (torch.bfloat16, ("avx512_bf16", "amx_bf16")),
    # AMD: 250 to 280 against MKL's 110 to 120, which uses AVX2 there (2.2 to 2.3 times with 256 to 1,024 rows, 1.4 to
    # 2.3 times with 4 and 16). Not measured on Intel, where MKL uses AVX-512 too.
    (torch.float32, ("avx512_f",)),
)
# Not in the table: float32 with AVX2, where MKL multiplies 175 GFLOP/s on two cores and oneDNN 150 (from about 100
# rows on); bfloat16 on processors that emulate it (AVX-512 alone), 82 to 85 either way, and plain weights stay mapped
# from their file; processors that are not x86, of which nothing is known.


def linear_layers_for(dtype: torch.dtype, capabilities: Mapping[str, Any] | None = None) -> type[FastLinear]:
    """Return which layers are faster in a precision: the same on every start on the same processor.

    What they compute is equal but for rounding. Many rows decide: where `PlainLinear` is faster with them, it is slower
    with the few rows of a lone query.

    Args:
        dtype: The precision.
        capabilities: What the processor has, as `torch.cpu.get_capabilities` names it; None for the one here.
    """
    has = torch.cpu.get_capabilities() if capabilities is None else capabilities
    faster = any(dtype == row and any(has.get(feature) for feature in any_of) for row, any_of in _PREPACKED_IS_FASTER)
    return PrepackedLinear if faster and has_onednn(dtype) else PlainLinear


@lru_cache
def has_onednn(dtype: torch.dtype) -> bool:
    """Tell whether this torch has oneDNN's operators, on this processor."""
    # They are not public, so they are tried out.
    layer = nn.Linear(64, 32, dtype=dtype, device="meta").to_empty(device="cpu")  # draws no random numbers
    layer.weight.data.copy_(torch.linspace(-1, 1, 64 * 32).view(32, 64))
    layer.bias.data.fill_(1)
    rows = torch.ones(4, 64, dtype=dtype)
    with torch.inference_mode():
        try:
            expected = layer(rows)
            plain = _pointwise(rows, layer.weight, layer.bias, "none")
            prepacked = PrepackedLinear(layer)(rows)
        except (AttributeError, NotImplementedError, RuntimeError):
            return False
        return all(torch.allclose(out, expected, atol=0.05) for out in (plain, prepacked))


def _pointwise(states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, then: Activation) -> torch.Tensor:
    product = torch.ops.mkldnn._linear_pointwise.default  # noqa: SLF001 see has_onednn
    rows, many = _rows(states)
    if many == rows:
        out: torch.Tensor = product(states, weight, bias, then, [], "none")
        return out
    out = product(padded(states.reshape(rows, -1), many), weight, bias, then, [], "none")
    return out[:rows].view(*states.shape[:-1], -1)


def _rows(states: torch.Tensor) -> tuple[int, int]:
    """Return how many rows there are, and how many a product is to have; those of packed passes are as many already."""
    rows = states.numel() // states.shape[-1]
    return rows, rounded_up(rows)
