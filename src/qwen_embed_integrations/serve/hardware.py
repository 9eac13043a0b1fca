"""Which GPUs there are, found without torch."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_MIB = 1024**2


@dataclass(frozen=True)
class Gpu:
    """A GPU.

    Attributes:
        index: What CUDA_VISIBLE_DEVICES calls it.
        total: Bytes of memory; None where they could not be read.
        free: Bytes that nothing uses now; None where they could not be read.
    """

    index: str
    total: int | None = None
    free: int | None = None


def find_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that a server started here could use, as CUDA_VISIBLE_DEVICES allows."""
    gpus = _from_nvidia_smi() or _from_device_files(Path("/dev"), "nvidia[0-9]*") or _from_rocm()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", os.environ.get("HIP_VISIBLE_DEVICES"))
    if visible is None:
        return tuple(gpu for _, gpu in gpus)
    chosen = []
    for name in filter(None, (part.strip() for part in visible.split(","))):
        if name.startswith("-"):  # CUDA stops reading here
            break
        matching = [gpu for uuid, gpu in gpus if name == gpu.index or (uuid and uuid.startswith(name))]
        chosen += matching[:1] or ([Gpu(name)] if name.startswith("MIG-") and gpus else [])
    return tuple(chosen)


def free_ram() -> int | None:
    """Return the bytes of memory that are free for a server on the CPU; None where they cannot be read."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def has_amx() -> bool:
    """Whether this CPU has AMX."""
    try:
        return "amx_tile" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


def _from_nvidia_smi() -> list[tuple[str, Gpu]]:
    """Return UUID and GPU of each that the driver's program lists."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = "--query-gpu=index,uuid,memory.total,memory.free"
    try:
        listed = subprocess.run(  # noqa: S603 the driver's own
            [program, query, "--format=csv,noheader,nounits"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    gpus = []
    for line in listed.stdout.splitlines() if listed.returncode == 0 else ():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 4:  # noqa: PLR2004 the fields of the query
            total, free = (int(cell) * _MIB if cell.isdigit() else None for cell in cells[2:])
            gpus.append((cells[1], Gpu(cells[0], total, free)))
    return gpus


def _from_device_files(folder: Path, pattern: str) -> list[tuple[str, Gpu]]:
    names = sorted(path.name for path in folder.glob(pattern) if path.name.removeprefix("nvidia").isdigit())
    return [("", Gpu(name.removeprefix("nvidia"))) for name in names]


def _from_rocm() -> list[tuple[str, Gpu]]:
    if not Path("/dev/kfd").exists():
        return []
    return [("", Gpu(str(index))) for index, _ in enumerate(sorted(Path("/dev/dri").glob("renderD*")) or [None])]
