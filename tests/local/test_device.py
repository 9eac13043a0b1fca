"""What the device's memory says when it runs out, whoever says it."""

from __future__ import annotations

import pytest
import torch

from qwen_embed_integrations.local.device import ran_out, release_memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("unable to mmap 93 bytes from file </x/model.safetensors>: Cannot allocate memory (12)"),
        OSError(12, "Cannot allocate memory"),
    ],
    ids=str,
)
def test_memory_that_ran_out_is_known(error: BaseException) -> None:
    assert ran_out(error)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("out of memory"), KeyError("memory")],
    ids=str,
)
def test_other_errors_are_not_taken_for_it(error: BaseException) -> None:
    assert not ran_out(error)


def test_memory_can_be_released_at_any_time() -> None:
    kept = torch.arange(1000)
    release_memory()
    assert kept.sum() == 499_500
