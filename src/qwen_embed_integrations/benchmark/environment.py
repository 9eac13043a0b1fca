"""What a run ran on: versions, hardware, memory."""

from __future__ import annotations

import os
import platform
import re
import sys
import threading
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_embed_integrations.extras import require

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from typing_extensions import Self

_PACKAGES = (
    "qwen-embed-integrations",
    "numpy",
    "torch",
    "transformers",
    "tokenizers",
    "openai",
    "chromadb",
    "bm25s",
    "scipy",
)
_MIB = 2**20


def versions(packages: Iterable[str] = _PACKAGES) -> dict[str, str]:
    """Return the versions of Python and of those packages that are installed."""
    installed = {"python": f"{platform.python_implementation()} {platform.python_version()}"}
    for package in packages:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed


def hardware() -> dict[str, Any]:
    """Return the processor, the cores this process may use, the memory in GiB, and the GPUs that torch sees."""
    psutil = require("psutil", extra="benchmark")
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS or Windows
    machine = {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }
    torch = sys.modules.get("torch")  # not loaded: no local model ran, so no GPU here mattered
    if torch is not None and torch.cuda.is_available():
        machine["gpus"] = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return machine


def _cpu() -> str:
    try:
        model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        model = None
    return model[1] if model else platform.processor() or platform.machine()


class MemoryWatch:
    """Watches how much memory this process holds, while it is open as a context manager.

    Attributes:
        before_mib: Resident memory at the start, in MiB.
        peak_mib: The highest resident memory, in MiB, measured every `interval` seconds.
    """

    def __init__(self, interval: float = 0.05) -> None:
        self._process = require("psutil", extra="benchmark").Process()
        self._interval = interval
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._measure, name="memory-watch", daemon=True)
        self.before_mib = self.peak_mib = self._resident()

    def _resident(self) -> float:
        return float(self._process.memory_info().rss) / _MIB

    def _measure(self) -> None:
        while not self._done.wait(self._interval):
            self.peak_mib = max(self.peak_mib, self._resident())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self.peak_mib = max(self.peak_mib, self._resident())
