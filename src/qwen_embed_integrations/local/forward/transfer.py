"""Tensors to a device and values back without waiting for what the device is computing."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_embed_integrations.local.sequences import Pending
    from qwen_embed_integrations.vectors import Float32


def end_to_end(sequences: Sequence[Sequence[int]], device: torch.device) -> torch.Tensor:
    """Return token ids in one row, shape `(tokens,)`, int64."""
    count = sum(map(len, sequences))
    return to_device(torch.from_numpy(np.fromiter(chain.from_iterable(sequences), np.int64, count)), device)


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor of the host's on a device; a GPU fetches it in its turn."""
    if device.type != "cuda":
        return tensor.to(device)
    # Only from memory that stays in place can a GPU copy by itself. torch keeps the block until it has.
    return tensor.pin_memory().to(device, non_blocking=True)


def to_host(values: torch.Tensor) -> Float32 | Pending:
    """Return values as a float32 array; from a GPU, as something whose `result()` waits for it."""
    values = values.float()
    if values.device.type == "cuda":
        return _Arriving(values)
    array: Float32 = values.cpu().numpy()
    return array


class _Arriving:
    """Values on their way from a GPU."""

    def __init__(self, values: torch.Tensor) -> None:
        self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        self._values.copy_(values, non_blocking=True)
        self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch gives no type
        self._copied.record(torch.cuda.current_stream(values.device))

    def result(self) -> Float32:
        """Wait for the copy; the device goes on with what was launched after it."""
        self._copied.synchronize()
        array: Float32 = self._values.numpy()
        return array
