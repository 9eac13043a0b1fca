from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import checkpoints
from serve_process import Serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OPTIONS = Path(__file__).parent / "options"


@pytest.fixture(scope="session")
def sglang_options() -> frozenset[str]:
    """Every option string of SGLang 0.5.23, from its own parser."""
    return frozenset((OPTIONS / "sglang-0.5.23.txt").read_text(encoding="utf-8").split())


@pytest.fixture(scope="session")
def vllm_options() -> frozenset[str]:
    """Every option string of `vllm serve` 0.32.0, from its own parser."""
    return frozenset((OPTIONS / "vllm-0.32.0.txt").read_text(encoding="utf-8").split())


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    """Start `qwen-embed serve`."""
    started: list[Serving] = []

    def start(*arguments: str, engine: bool = True, **environment: str) -> Serving:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(Serving(folder, *arguments, engine=engine, **environment))
        return started[-1]

    yield start
    for process in started:
        process.close()


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A folder that says enough of itself to be served."""
    folder = tmp_path / "Qwen3-Embedding-0.6B"
    checkpoints.write_json(folder / "config.json", {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"})
    return str(folder)


@pytest.fixture(autouse=True)
def nothing_in_the_hubs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are the same, whatever this machine has downloaded."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
