"""Products are those of the layers they take the place of, whichever library multiplies."""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003 a parameter's type
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from qwen_embed_integrations.local.forward import cpu_linear
from qwen_embed_integrations.local.forward.cpu_linear import PlainLinear, PrepackedLinear, fastest

KINDS = [PlainLinear, PrepackedLinear]
ACTIVATIONS: dict[Any, Callable[[torch.Tensor], torch.Tensor]] = {
    "none": lambda states: states,
    "gelu": functional.gelu,
    "relu": functional.relu,
    "swish": functional.silu,
}


def layer(dtype: torch.dtype = torch.float32, *, bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(24, 40, bias=bias, dtype=dtype).requires_grad_(requires_grad=False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("then", ACTIVATIONS)
@pytest.mark.parametrize("rows", [1, 7, 95, 96, 300])
@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_an_activation_follows_the_product(kind: Any, then: Any, rows: int, *, bias: bool) -> None:
    states = torch.randn(1, rows, 24)
    expected = ACTIVATIONS[then](layer(bias=bias)(states))
    given = states.clone()
    torch.testing.assert_close(kind(layer(bias=bias), then)(given), expected, atol=1e-6, rtol=1e-5)
    assert torch.equal(given, states)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("operation", "how"), [("add", torch.add), ("mul", torch.mul)])
@pytest.mark.parametrize("rows", [7, 300])
@torch.inference_mode()
def test_another_tensor_is_added_or_multiplied(kind: Any, operation: Any, how: Any, rows: int) -> None:
    states, other = torch.randn(rows, 24), torch.randn(rows, 40)
    expected, kept = how(layer()(states), other), other.clone()
    torch.testing.assert_close(kind(layer()).with_other(states, other, operation), expected, atol=1e-6, rtol=1e-5)
    assert torch.equal(other, kept)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_can_still_be_read(kind: Any) -> None:
    torch.testing.assert_close(kind(layer()).weight, layer().weight, atol=0, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_faster_kind_is_tried_out_once(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_linear._fastest.cache_clear()
    found = fastest(dtype)
    assert found in KINDS
    monkeypatch.setattr(cpu_linear, "PlainLinear", None)
    assert fastest(dtype) is found
    cpu_linear._fastest.cache_clear()


@pytest.mark.parametrize("slow", ["PlainLinear", "PrepackedLinear"])
def test_a_slow_kind_is_not_taken(slow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind: Any = getattr(cpu_linear, slow)

    class Slow(kind):
        def forward(self, states: torch.Tensor) -> torch.Tensor:
            for _ in range(20):
                out: torch.Tensor = super().forward(states)
            return out

    cpu_linear._fastest.cache_clear()
    monkeypatch.setattr(cpu_linear, slow, Slow)
    try:
        assert fastest(torch.float32) in {PlainLinear, PrepackedLinear} - {kind}
    finally:
        cpu_linear._fastest.cache_clear()


@torch.inference_mode()
def test_a_torch_without_onednns_operators_multiplies_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any) -> torch.Tensor:
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")

    caches = (cpu_linear._fastest, cpu_linear._onednn)
    for each in caches:
        each.cache_clear()
    monkeypatch.setattr(cpu_linear, "_pointwise", gone)
    try:
        assert fastest(torch.float32) is PlainLinear
        states = torch.randn(3, 24)
        torch.testing.assert_close(PlainLinear(layer())(states), layer()(states))
    finally:
        for each in caches:
            each.cache_clear()
