"""Where to compute, in which precision, and what becomes of the memory there."""

from __future__ import annotations

import ctypes
import re
import sys
from contextlib import suppress

import torch

from qwen_embed_integrations.errors import InvalidInputError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# Tokens in one forward pass: enough to fill the cores or the card, little enough to keep activations small.
_CPU_TOKENS = 1024
_GPU_TOKENS = 32768
# What torch (for the CPU, the mapping of a file), CUDA's libraries and the system say in RuntimeError and OSError.
_EXHAUSTED = re.compile(
    r"(can't|cannot) allocate memory|not enough memory|unable to mmap|out of memory|ALLOC_FAILED", re.IGNORECASE
)


def choose_device(device: str) -> torch.device:
    """Return the device asked for, or a CUDA GPU where there is one, else the CPU.

    Raises:
        InvalidInputError: If there is no such device here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).item()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        raise InvalidInputError(
            f"`device` is {device!r}, which cannot be used here: {str(error).splitlines()[0]}", parameter="device"
        ) from error
    return chosen


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Return the precision asked for, or bfloat16 where the hardware multiplies it fast, else float32.

    Raises:
        InvalidInputError: If it is none of the three, or float16 on a CPU, which emulates it many times slower.
    """
    if dtype == "auto":
        return torch.bfloat16 if _multiplies_bfloat16(device) else torch.float32
    if dtype not in _DTYPES:
        raise InvalidInputError(
            f"`dtype` is {dtype!r}; it must be 'auto', {', '.join(map(repr, _DTYPES))}.", parameter="dtype"
        )
    if dtype == "float16" and device.type == "cpu":
        raise InvalidInputError(
            "`dtype` is 'float16', which CPUs multiply many times slower than 'float32'; use 'auto'.",
            parameter="dtype",
        )
    return _DTYPES[dtype]


def choose_token_budget(token_budget: int | None, device: torch.device) -> int:
    """Return how many tokens go into one forward pass."""
    if token_budget is None:
        return _CPU_TOKENS if device.type == "cpu" else _GPU_TOKENS
    return token_budget


def ran_out(error: BaseException) -> bool:
    """Tell whether an error means that memory was exhausted."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, (RuntimeError, OSError)) and _EXHAUSTED.search(str(error)) is not None


def release_cache() -> None:
    """Give GPU memory that torch keeps and does not use back to the device."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch gives no type
        with suppress(RuntimeError):  # after a failed kernel this fails too; the next use of the device tells
            torch.cuda.empty_cache()


def release_memory() -> None:
    """Give what is kept of freed memory, on a GPU and by the C library's allocator, back to the system."""
    release_cache()
    if sys.platform == "linux":
        # glibc keeps all of a freed model, since its parts are smaller than what it maps apart; musl has no such call.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def describe_device(device: torch.device) -> str:
    """Return a device in words, a GPU with its name."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def describe_dtype(dtype: torch.dtype, device: torch.device) -> str:
    """Return a precision in words, with what the hardware has to say on it."""
    fast = _multiplies_bfloat16(device)
    reason = {
        torch.bfloat16: "multiplied fast here" if fast else "multiplied slowly here",
        torch.float32: "exact; bfloat16 would be faster here" if fast else "bfloat16 is not multiplied fast here",
    }.get(dtype)
    name = str(dtype).removeprefix("torch.")
    return f"{name} ({reason})" if reason else name


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        can = torch.cpu.get_capabilities()
        return bool(can.get("avx512_bf16") or can.get("amx_bf16"))
    return False
