"""Tensors reach a device and values come back; on a GPU without waiting."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qwen_embed_integrations.local.forward.transfer import end_to_end, to_device, to_host

CPU = torch.device("cpu")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def test_sequences_lie_end_to_end() -> None:
    row = end_to_end([[1, 2, 3], [4], [5, 151_643]], CPU)
    assert row.dtype == torch.int64
    assert row.tolist() == [1, 2, 3, 4, 5, 151_643]


def test_on_a_cpu_nothing_is_copied() -> None:
    tensor = torch.arange(3)
    assert to_device(tensor, CPU) is tensor


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_of_a_cpu_are_an_array_at_once(dtype: torch.dtype) -> None:
    values = to_host(torch.tensor([[1.5, -2.0]], dtype=dtype))
    assert isinstance(values, np.ndarray)
    assert values.dtype == np.float32
    assert values.tolist() == [[1.5, -2.0]]


@needs_cuda
def test_values_of_a_gpu_come_when_it_has_computed_them() -> None:
    device = torch.device("cuda")
    ids = end_to_end([[*range(1000)]] * 8, device)
    large = torch.ones(4096, 4096, device=device)
    for _ in range(20):
        large = large @ large / 4096
    pending = to_host(ids.view(8, 1000)[:, ::100].to(torch.bfloat16) * large[:8, :1])
    assert not isinstance(pending, np.ndarray)
    np.testing.assert_array_equal(pending.result(), np.tile(np.arange(0, 1000, 100), (8, 1)))


@needs_cuda
def test_launching_does_not_wait_for_a_gpu() -> None:
    device = torch.device("cuda")
    large = torch.ones(8192, 8192, device=device)
    torch.cuda.synchronize()
    ended = torch.cuda.Event()  # type: ignore[no-untyped-call]
    for _ in range(200):
        large = large @ large / 8192
    ended.record()  # type: ignore[no-untyped-call]
    end_to_end([[1, 2, 3]], device)
    pending = to_host(large[:2, :2])
    assert not ended.query()  # type: ignore[no-untyped-call]
    assert not isinstance(pending, np.ndarray)
    assert pending.result().tolist() == [[1, 1], [1, 1]]
