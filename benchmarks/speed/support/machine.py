"""What a script ran on: processor, cores, memory, cards, threads and versions; nothing but torch need be installed."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

try:
    import psutil
except ImportError:  # a bare machine
    psutil = None

if TYPE_CHECKING:
    from collections.abc import Iterable

_THREAD_SETTINGS = (
    "OMP_NUM_THREADS",
    "OMP_PROC_BIND",
    "OMP_WAIT_POLICY",
    "KMP_BLOCKTIME",
    "KMP_AFFINITY",
    "LD_PRELOAD",
)
# What decides how fast a CPU multiplies.
_INSTRUCTIONS = ("avx2", "avx512", "avx512_vnni", "avx512_bf16", "amx_bf16")


def usable_cores() -> int:
    """Return how many cores this process may use, hyper-threads counted."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS or Windows
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def physical_cores() -> int:
    """Return how many cores this process may use, hyper-threads not counted where psutil can tell."""
    cores = usable_cores()
    return min(cores, (psutil.cpu_count(logical=False) if psutil else None) or cores)


def hardware() -> dict[str, Any]:
    """Return the processor with what it multiplies fast, the usable cores, the memory, and the cards."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    about: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _processor(),
        "instructions": [name for name in _INSTRUCTIONS if capabilities.get(name)],
        "cores": usable_cores(),
    }
    if psutil:
        about["memory_gib"] = round(psutil.virtual_memory().total / 2**30, 1)
    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        about["gpus"] = [f"{card.name}, {card.total_memory / 2**30:.1f} GiB" for card in cards]
        about["cuda"] = torch.version.cuda
    return about


def _processor() -> str:
    try:
        name = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        name = None
    return name[1] if name else platform.processor() or platform.machine()


def threads() -> dict[str, Any]:
    """Return what decides on threads here; environment variables that are not set are left out."""
    settings = {name: os.environ[name] for name in _THREAD_SETTINGS if name in os.environ}
    return {"torch threads": torch.get_num_threads()} | settings


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python and of those packages that are installed."""
    installed = {"python": f"{platform.python_implementation()} {platform.python_version()}"}
    for package in packages:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed
