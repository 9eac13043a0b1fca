"""Layers for a CPU: weights kept in the order oneDNN multiplies them in.

The operators are those that `torch.compile` puts into frozen models; called directly, they need no compiler.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import nn


def can_prepack(device: torch.device, dtype: torch.dtype) -> bool:
    """Tell whether this torch offers it, on this processor."""
    return device.type == "cpu" and _works(dtype)


@lru_cache
def _works(dtype: torch.dtype) -> bool:
    # The operators are not public, so they are tried out.
    layer = nn.Linear(64, 32, dtype=dtype, device="meta").to_empty(device="cpu")  # draws no random numbers
    layer.weight.data.copy_(torch.linspace(-1, 1, 32 * 64).view(32, 64))
    layer.bias.data.fill_(1)
    rows = torch.ones(4, 64, dtype=dtype)
    with torch.inference_mode():
        try:
            expected = layer(rows)
            found = PrepackedLinear(layer)(rows)
        except (AttributeError, NotImplementedError, RuntimeError):
            return False
        return torch.allclose(found, expected, atol=0.05)


class PrepackedLinear(nn.Module):
    """A linear layer, and what follows it done in the same breath.

    Args:
        layer: What it takes the place of; its weights go over to this one.
        then: The activation behind it, named as oneDNN does.
    """

    def __init__(self, layer: nn.Linear, then: str = "none") -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.bias = layer.bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())  # noqa: SLF001 see _works
        del layer.weight  # before the next one is copied
        self._then = then

    @property
    def weight(self) -> torch.Tensor:
        """The weights in their usual order, for code that reads them."""
        dense: torch.Tensor = self._packed.to_dense()
        return dense

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return the product, shape `(..., out_features)`."""
        product = torch.ops.mkldnn._linear_pointwise.default  # noqa: SLF001 see _works
        out: torch.Tensor = product(states, self._packed, self.bias, self._then, [], "none")
        return out

    def with_other(self, states: torch.Tensor, other: torch.Tensor, operation: str) -> torch.Tensor:
        """Return the product with another tensor added (`"add"`) or multiplied (`"mul"`) to it."""
        # Named in full: to tell overloads apart, torch would print the tensors.
        product = torch.ops.mkldnn._linear_pointwise.binary  # noqa: SLF001 see _works
        out: torch.Tensor = product(states, other, self._packed, self.bias, operation)
        return out
