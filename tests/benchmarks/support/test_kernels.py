from __future__ import annotations

import logging

import pytest
import torch

from support.kernels import counting_varlen

varlen = pytest.importorskip("torch.nn.attention.varlen", reason="this torch has no such kernel")


def test_calls_of_the_kernel_are_counted_though_logging_is_switched_off() -> None:
    row, bounds = torch.zeros(3, 2, 8), torch.tensor([0, 3], dtype=torch.int32)
    logging.disable(logging.WARNING)
    with counting_varlen() as calls, pytest.raises(NotImplementedError):  # there is none for the CPU
        varlen.varlen_attn(row, row, row, bounds, bounds, 3, 3)
    assert len(calls) == 1
    assert logging.root.manager.disable == logging.WARNING
