"""Whether a model fits where it is to go, and what to use where it does not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from qwen_embed_integrations.errors import ModelLoadError, UnknownModelError
from qwen_embed_integrations.profiles import PROFILES, profile_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_embed_integrations.local.checkpoint.weights import StoredWeights

# The word by which models of one family differ: 0.6B, 8B, xsmall, large.
_SIZE = re.compile(r"(?<=-)(\d+(\.\d+)?b|xsmall|small|base|large)(?=-|$)", re.IGNORECASE)


def require_room(name: str, weights: StoredWeights, device: torch.device, dtype: torch.dtype) -> None:
    """Refuse a model whose weights are larger than the memory that is free.

    Args:
        name: The model's.
        weights: Its weights.
        device: Where they are to go.
        dtype: In which precision.

    Raises:
        ModelLoadError: Saying what they take, what is free and what to use instead.
    """
    free = free_memory(device)
    if free is not None and weights.size(dtype) > free:
        raise too_large(name, weights, device, dtype)


def too_large(name: str, weights: StoredWeights, device: torch.device, dtype: torch.dtype) -> ModelLoadError:
    """Return the error for a model that does not fit."""
    free = free_memory(device)
    available = "too little" if free is None else _gigabytes(free)
    instead = [
        *_lower_precision(weights, dtype, free),
        *_smaller(name, dtype, free),
        *_elsewhere(weights, device, dtype),
    ]
    instead.append("a server with more memory (Embedder.served, Reranker.served)")
    return ModelLoadError(
        f"`model` {name!r} does not fit: its weights take {_gigabytes(weights.size(dtype))} in {_name(dtype)}, and "
        f"{available} is free on {device}. Use {', or '.join(instead)}."
    )


def free_memory(device: torch.device, root: Path = Path("/")) -> int | None:
    """Return how many bytes can still be had, or None where the system does not say.

    Args:
        device: Where.
        root: The root of the file system, where Linux keeps its numbers.
    """
    if device.type == "cuda":
        # What torch holds and does not use is free too.
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    if device.type != "cpu":
        return None
    available = _numbers(root / "proc/meminfo").get("MemAvailable:")
    bounds = [*([] if available is None else [available * 1024]), *_cgroup_bounds(root)]
    return max(min(bounds), 0) if bounds else None


def _cgroup_bounds(root: Path) -> Iterator[int]:
    # Every group above the process's limits it too. A container sees its own group as the root.
    for mount, limit, usage, in_files in (
        ("sys/fs/cgroup", "memory.max", "memory.current", ("inactive_file", "active_file")),
        (
            "sys/fs/cgroup/memory",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            ("total_inactive_file", "total_active_file"),
        ),
    ):
        for group in _groups(root, version_1=limit == "memory.limit_in_bytes"):
            folder = root / mount / group
            maximum, used = _number(folder / limit), _number(folder / usage)
            if maximum is not None and used is not None:
                # Pages of files are given up when memory is wanted.
                stat = _numbers(folder / "memory.stat")
                yield maximum - used + sum(stat.get(name, 0) for name in in_files)


def _groups(root: Path, *, version_1: bool) -> list[Path]:
    group = Path()
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if ("memory" in controllers.split(",")) if version_1 else not controllers:
            group = Path(path.lstrip("/"))
    return [group, *group.parents] if group.parts else [group]


def _lower_precision(weights: StoredWeights, dtype: torch.dtype, free: int | None) -> Iterator[str]:
    half = weights.size(torch.bfloat16)
    if dtype == torch.float32 and (free is None or half <= free):
        yield f"dtype='bfloat16' ({_gigabytes(half)})"


def _smaller(name: str, dtype: torch.dtype, free: int | None) -> Iterator[str]:
    """Yield the largest smaller model of the same family that fits."""
    try:
        known = profile_for(name)
    except UnknownModelError:
        return
    family = [
        (other.parameters * dtype.itemsize, other.name)
        for other in PROFILES
        if type(other) is type(known)
        and _SIZE.sub("", other.name) == _SIZE.sub("", known.name)
        and other.parameters
        and other.parameters < (known.parameters or 0)
    ]
    for size, smaller in sorted(family, reverse=True):
        if free is None or size <= free:
            yield f"{smaller} ({_gigabytes(size)})"
            return


def _elsewhere(weights: StoredWeights, device: torch.device, dtype: torch.dtype) -> Iterator[str]:
    others = [torch.device("cuda", index) for index in range(torch.cuda.device_count())] + [torch.device("cpu")]
    for other in others:
        same = other.type == device.type and (other.index or 0) == (device.index or 0)
        # A CPU has no fast float16.
        if same or (other.type == "cpu" and dtype == torch.float16):
            continue
        free = free_memory(other)
        if free is not None and weights.size(dtype) <= free:
            yield f"device='{other}' ({_gigabytes(free)} free)"
            return


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None  # "max" is no bound


def _numbers(path: Path) -> dict[str, int]:
    lines = (line.split() for line in _text(path).splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"  # noqa: PLR2004 0.1 GB


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
