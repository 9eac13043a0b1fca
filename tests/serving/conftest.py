from __future__ import annotations

from pathlib import Path

import pytest

OPTIONS = Path(__file__).parent / "options"


@pytest.fixture(scope="session")
def sglang_options() -> frozenset[str]:
    """Every option string of SGLang 0.5.23, from its own parser."""
    return frozenset((OPTIONS / "sglang-0.5.23.txt").read_text(encoding="utf-8").split())


@pytest.fixture(scope="session")
def vllm_options() -> frozenset[str]:
    """Every option string of `vllm serve` 0.32.0, from its own parser."""
    return frozenset((OPTIONS / "vllm-0.32.0.txt").read_text(encoding="utf-8").split())
