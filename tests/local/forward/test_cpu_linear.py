"""Products are those of the layers they take the place of, whichever library multiplies."""

from __future__ import annotations

import time
from collections.abc import Callable  # noqa: TC003 a parameter's type
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from qwen_embed_integrations.local.forward import cpu_linear
from qwen_embed_integrations.local.forward.cpu_linear import PlainLinear, PrepackedLinear, linear_layers_for

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


@pytest.mark.parametrize(
    ("dtype", "capabilities", "expected"),
    [
        (torch.bfloat16, {"avx512_f": True, "avx512_bf16": True}, PrepackedLinear),
        (torch.bfloat16, {"avx512_f": True, "amx_bf16": True}, PrepackedLinear),
        (torch.bfloat16, {"avx512_f": True, "avx512_bf16": False}, PlainLinear),
        (torch.float32, {"avx2": True, "avx512_f": True}, PrepackedLinear),
        (torch.float32, {"avx2": True, "avx512_f": False}, PlainLinear),
        (torch.float32, {"architecture": "aarch64", "neon": True}, PlainLinear),
        (torch.float16, {"avx512_f": True, "avx512_bf16": True}, PlainLinear),
    ],
)
def test_layers_follow_from_precision_and_processor(
    dtype: torch.dtype, capabilities: dict[str, Any], expected: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_linear, "has_onednn", lambda _: True)
    assert linear_layers_for(dtype, capabilities) is expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_clock_has_a_say_in_it(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: Any) -> float:
        raise AssertionError("a clock was asked")

    for clock in ("perf_counter", "perf_counter_ns", "monotonic", "time", "process_time", "thread_time"):
        monkeypatch.setattr(time, clock, asked)
    assert linear_layers_for(dtype) is linear_layers_for(dtype, torch.cpu.get_capabilities())


@torch.inference_mode()
def test_a_torch_without_onednns_operators_multiplies_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any) -> torch.Tensor:
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")

    cpu_linear.has_onednn.cache_clear()
    monkeypatch.setattr(cpu_linear, "_pointwise", gone)
    try:
        assert linear_layers_for(torch.float32, {"avx512_f": True}) is PlainLinear
        states = torch.randn(3, 24)
        torch.testing.assert_close(PlainLinear(layer())(states), layer()(states))
    finally:
        cpu_linear.has_onednn.cache_clear()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_a_row_comes_out_the_same_among_any_number_of_rows(kind: Any, dtype: torch.dtype) -> None:
    if not cpu_linear.has_onednn(dtype):
        pytest.skip("oneDNN does not multiply in this precision on this processor")
    made = kind(layer(dtype), "gelu")
    states = torch.randn(90, 24).to(dtype)
    whole = made(states)
    for rows in (2, 5, 17, 33, 70):
        assert torch.equal(made(states[:rows]), whole[:rows])
