"""Linear layers for a CPU, multiplied by whichever of torch's libraries is fastest there, and what follows the product.

oneDNN has operators that keep weights in the order it multiplies them in and do what follows a product with it; they
are those that `torch.compile` puts into frozen models, and need no compiler when they are called directly. Where they
are slower than the library behind `torch.nn.Linear`, as MKL is faster on CPUs without AVX-512, the weights stay as they
are.
"""

from __future__ import annotations

import threading
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    # What can follow a product, as oneDNN names it.
    Activation = Literal["none", "gelu", "relu", "swish"]

# Rows from which on MKL multiplies faster than oneDNN does with weights in their usual order (two cores of AVX2,
# float32: even at 64 to 128 rows; of 4 rows half as fast).
_ROWS = 96
# Rows, inputs and outputs of the product that tells which is faster.
_TRIED = (256, 512, 2048)
_TRIALS = 5
_trying = threading.Lock()
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
        self._few = _onednn(layer.weight.dtype)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return the product and what follows it, shape `(..., out_features)`."""
        return _IN_PLACE[self._then](self._product(states))

    def with_other(self, states: torch.Tensor, other: torch.Tensor, operation: Literal["add", "mul"]) -> torch.Tensor:
        """Return the product with another tensor added or multiplied to it."""
        out = self._product(states)
        return out.add_(other) if operation == "add" else out.mul_(other)

    def _product(self, states: torch.Tensor) -> torch.Tensor:
        if self._few and states.numel() < _ROWS * self.in_features:
            return _pointwise(states, self.weight, self.bias, "none", [], "none")
        return functional.linear(states, self.weight, self.bias)


class PrepackedLinear(FastLinear):
    """One with the weights in the order oneDNN multiplies them in."""

    def __init__(self, layer: nn.Linear, then: Activation = "none") -> None:
        super().__init__(layer, then)
        self._packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())  # noqa: SLF001 see _onednn
        del layer.weight  # before the next one is copied

    @property
    def weight(self) -> torch.Tensor:
        """The weights in their usual order, for code that reads them."""
        dense: torch.Tensor = self._packed.to_dense()
        return dense

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return the product and what follows it, shape `(..., out_features)`."""
        return _pointwise(states, self._packed, self.bias, self._then, [], "none")

    def with_other(self, states: torch.Tensor, other: torch.Tensor, operation: Literal["add", "mul"]) -> torch.Tensor:
        """Return the product with another tensor added or multiplied to it."""
        # Named in full: to tell overloads apart, torch would print the tensors.
        product = torch.ops.mkldnn._linear_pointwise.binary  # noqa: SLF001 see _onednn
        out: torch.Tensor = product(states, other, self._packed, self.bias, operation)
        return out


def fastest(dtype: torch.dtype) -> type[FastLinear]:
    """Return which layers are fastest on this CPU in a precision, tried out once.

    What they compute is equal but for rounding. Many rows decide: where `PlainLinear` is faster with them, it is slower
    with the few rows of a lone query.
    """
    with _trying:  # at the same time, two trials would measure each other
        return _fastest(dtype)


@lru_cache
def _fastest(dtype: torch.dtype) -> type[FastLinear]:
    if not _onednn(dtype):
        return PlainLinear
    rows, inputs, outputs = _TRIED
    states = torch.ones(rows, inputs, dtype=dtype)
    kinds = (PrepackedLinear, PlainLinear)
    made = [kind(_filled(inputs, outputs, dtype), "gelu") for kind in kinds]
    taken: list[list[float]] = [[] for _ in made]
    with torch.inference_mode():
        for _ in range(_TRIALS + 1):
            for layer, times in zip(made, taken, strict=True):
                started = time.perf_counter()
                layer(states)
                times.append(time.perf_counter() - started)
    prepacked, plain = (min(times[1:]) for times in taken)  # the first warms up
    return PlainLinear if plain < prepacked else PrepackedLinear


@lru_cache
def _onednn(dtype: torch.dtype) -> bool:
    """Tell whether this torch has oneDNN's operators, on this processor."""
    # They are not public, so they are tried out.
    layer = _filled(64, 32, dtype)
    rows = torch.ones(4, 64, dtype=dtype)
    with torch.inference_mode():
        try:
            expected = layer(rows)
            plain = _pointwise(rows, layer.weight, layer.bias, "none", [], "none")
            prepacked = PrepackedLinear(layer)(rows)
        except (AttributeError, NotImplementedError, RuntimeError):
            return False
        return all(torch.allclose(found, expected, atol=0.05) for found in (plain, prepacked))


def _pointwise(*arguments: Any) -> torch.Tensor:
    product = torch.ops.mkldnn._linear_pointwise.default  # noqa: SLF001 see _onednn
    out: torch.Tensor = product(*arguments)
    return out


def _filled(inputs: int, outputs: int, dtype: torch.dtype) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, dtype=dtype, device="meta").to_empty(device="cpu")  # draws no random numbers
    layer.weight.data.copy_(torch.linspace(-1, 1, inputs * outputs).view(outputs, inputs))
    layer.bias.data.fill_(1)
    return layer
