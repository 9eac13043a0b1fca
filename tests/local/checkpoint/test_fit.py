"""A model that does not fit is refused, saying what it needs and what to use instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from qwen_embed_integrations import Embedder
from qwen_embed_integrations.errors import ModelLoadError
from qwen_embed_integrations.local.checkpoint import fit
from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles
from qwen_embed_integrations.local.checkpoint.weights import StoredWeights

if TYPE_CHECKING:
    from pathlib import Path


def test_a_model_that_does_not_fit_says_what_it_needs_and_what_fits(
    tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = StoredWeights(CheckpointFiles(tiny_qwen3))
    free = weights.size(torch.float32) - 1
    monkeypatch.setattr(fit, "free_memory", lambda _device: free)
    with pytest.raises(ModelLoadError) as caught:
        Embedder.local(tiny_qwen3, device="cpu", dtype="float32")
    message = str(caught.value)
    needed, half = (f"{weights.size(dtype) / 1e6:.1f} MB" for dtype in (torch.float32, torch.bfloat16))
    assert f"take {needed} in float32, and {free / 1e6:.1f} MB is free on cpu" in message
    assert f"dtype='bfloat16' ({half})" in message
    assert "Embedder.served" in message
    with Embedder.local(tiny_qwen3, device="cpu", dtype="bfloat16") as fits:
        assert fits.embed_documents(["fox"]).shape == (1, 64)


@pytest.mark.parametrize(
    ("name", "free", "wanted"),
    [
        ("Qwen3-Embedding-8B", 10e9, "Qwen/Qwen3-Embedding-4B (8.0 GB)"),
        ("Qwen3-Embedding-8B", 5e9, "Qwen/Qwen3-Embedding-0.6B (1.2 GB)"),
        ("Qwen3-Reranker-8B", 10e9, "Qwen/Qwen3-Reranker-4B (8.0 GB)"),
        ("mxbai-rerank-large-v1", 0.5e9, "mixedbread-ai/mxbai-rerank-base-v1"),
        ("jina-embeddings-v2-base-en", 0.2e9, "jinaai/jina-embeddings-v2-small-en"),
    ],
)
def test_the_largest_model_of_the_family_that_fits_is_named(
    tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch, name: str, free: float, wanted: str
) -> None:
    monkeypatch.setattr(fit, "free_memory", lambda _device: int(free))
    weights = StoredWeights(CheckpointFiles(tiny_qwen3))
    error = fit.too_large(name, weights, torch.device("cpu"), torch.bfloat16)
    assert wanted in str(error)
    assert str(error).count(" GB)") + str(error).count(" MB)") == 1


def test_no_model_of_another_family_is_named(tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "free_memory", lambda _device: 10**12)
    weights = StoredWeights(CheckpointFiles(tiny_qwen3))
    for name in ("Qwen3-Embedding-0.6B", "mxbai-embed-xsmall-v1", "my-own-8b"):
        error = fit.too_large(name, weights, torch.device("cpu"), torch.bfloat16)
        assert "Use a server" in str(error)


def cgroup(root: Path, **files: str) -> Path:
    for name, text in {"proc/meminfo": "MemTotal: 64000000 kB\nMemAvailable: 32000000 kB\n", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 32_000_000 * 1024),
        ({"sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "5\n"}, 32_000_000 * 1024),
        (
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": "1000\n",
                "sys/fs/cgroup/memory.current": "600\n",
                "sys/fs/cgroup/memory.stat": "anon 300\ninactive_file 200\nactive_file 50\n",
            },
            650,
        ),
        (
            {
                "proc/self/cgroup": "0::/user/job\n",
                "sys/fs/cgroup/user/memory.max": "1000\n",
                "sys/fs/cgroup/user/memory.current": "900\n",
                "sys/fs/cgroup/user/job/memory.max": "5000\n",
                "sys/fs/cgroup/user/job/memory.current": "100\n",
            },
            100,
        ),
        (
            {
                "proc/self/cgroup": "9:cpu:/\n4:memory:/job\n",
                "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "2000\n",
                "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "500\n",
                "sys/fs/cgroup/memory/job/memory.stat": "total_inactive_file 20\n",
            },
            1520,
        ),
    ],
)
def test_the_least_of_all_bounds_is_free(tmp_path: Path, files: dict[str, str], free: int) -> None:
    assert fit.free_memory(torch.device("cpu"), cgroup(tmp_path, **files)) == free


def test_nothing_is_refused_where_the_system_does_not_say(tmp_path: Path) -> None:
    assert fit.free_memory(torch.device("cpu"), tmp_path) is None
