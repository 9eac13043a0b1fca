from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from qwen_embed_integrations.serve.hardware import Gpu, find_gpus, free_ram

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024**2
FIRST, SECOND = Gpu("0", 24576 * MIB, 20000 * MIB), Gpu("1", 81920 * MIB, None)


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver's program that lists two."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '0, GPU-aa11, 24576, 20000'\necho '1, GPU-bb22, 81920, [N/A]'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("HIP_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("two_gpus")
def test_the_driver_is_asked() -> None:
    assert find_gpus() == (FIRST, SECOND)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("visible", "found"),
    [("1", (SECOND,)), ("GPU-bb", (SECOND,)), ("1,0", (SECOND, FIRST)), ("", ()), ("-1", ()), ("0,-1,1", (FIRST,))],
)
def test_only_visible_gpus_count(visible: str, found: tuple[Gpu, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert find_gpus() == found


@pytest.mark.usefixtures("two_gpus")
def test_a_part_of_a_gpu_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1234")
    assert find_gpus() == (Gpu("MIG-1234"),)


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_free_memory_is_read() -> None:
    assert 16 * MIB < (free_ram() or 0) < 2**50
