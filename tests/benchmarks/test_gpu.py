"""The GPU benchmark, tried on the CPU with a tiny model; what it measures there is not judged."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers
from torch.nn.attention.varlen import varlen_attn

from qwen_embed_integrations import profile_for

if TYPE_CHECKING:
    from types import ModuleType

BENCHMARKS = Path(__file__).parents[2] / "benchmarks/speed"
# Where torch and transformers are, these may be missing.
MISSING = ("openai", "pybase64", "typer", "rich", "psutil", "sentence_transformers")
BARE = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({MISSING!r}))
sys.path.insert(0, {str(BENCHMARKS)!r})
sys.argv[0] = {str(BENCHMARKS / "gpu.py")!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def checkpoints(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark's module of shapes, checkpoints and texts."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("gpu_checkpoints")


def run(*start: str | Path, options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 our own script
        [sys.executable, *start, *options.split()], capture_output=True, text=True, check=False
    )


def figures_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["shapes"]["tiny"]
    return found


def test_every_part_runs_with_torch_and_transformers_alone(tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    options = f"--device cpu --shapes tiny --dtype float32 --tokens 2000 --rounds 1 --output {output}"
    done = run("-c", BARE, options=options)
    assert done.returncode == 0, done.stderr
    found = figures_of(output)
    ours, peer = found["contenders"]
    assert peer["name"] == "padded transformers loop (sdpa)"
    assert set(ours["throughput"]) == set(peer["throughput"]) == {"queries", "chunks", "documents"}
    assert all(figures["share"] > 0 for figures in ours["throughput"].values())
    assert set(ours["latency"]) == {"1", "32"}
    assert ours["cosine"]["least"] > 0.99999
    assert found["cosine_of_different_texts"] < 0.5
    assert found["rerank"]["log_odds_largest_difference"] < 1e-4 < found["rerank"]["log_odds_spread"]


def test_sentence_transformers_is_the_peer_where_it_is_installed(tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    options = "--device cpu --shapes tiny --dtype float32 --tokens 2000 --rounds 1 --workloads queries --no-rerank"
    done = run(BENCHMARKS / "gpu.py", options=f"{options} --output {output}")
    assert done.returncode == 0, done.stderr
    ours, peer = figures_of(output)["contenders"]
    assert peer["name"] == "sentence-transformers"
    assert peer["cosine"]["least"] > 0.99999
    assert ours["throughput"]["queries"]["texts"] == peer["throughput"]["queries"]["texts"]


@pytest.mark.parametrize("option", ["--rounds 0", "--tokens -1", "--shapes 9B"])
def test_an_option_that_cannot_be_is_refused_by_name(option: str) -> None:
    done = run(BENCHMARKS / "gpu.py", options=f"--device cpu {option}")
    assert done.returncode == 2
    assert option.partition(" ")[0] in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_how_to_try_it() -> None:
    done = run(BENCHMARKS / "gpu.py", options="--shapes tiny")
    assert done.returncode == 2
    assert "try --device cpu" in done.stderr


@pytest.mark.parametrize("size", ["0.6B", "4B", "8B"])
def test_a_shape_has_the_real_models_parameters(checkpoints: ModuleType, size: str) -> None:
    shape = checkpoints.SHAPES[size]
    with torch.device("meta"):
        model = transformers.AutoModel.from_config(checkpoints.config_of(shape))
    assert sum(each.numel() for each in model.parameters()) == profile_for(f"Qwen/Qwen3-Embedding-{size}").parameters
    layers = [each.numel() for name, each in model.named_parameters() if each.ndim == 2 and "embed" not in name]
    assert sum(layers) == shape.parameters()


def test_calls_of_the_kernel_are_counted(checkpoints: ModuleType) -> None:
    assert checkpoints  # its folder is on the path
    clock = importlib.import_module("gpu_clock")
    row, bounds = torch.zeros(3, 2, 8), torch.tensor([0, 3], dtype=torch.int32)
    with clock.counting_varlen() as calls, pytest.raises(NotImplementedError):  # there is none for the CPU
        varlen_attn(row, row, row, bounds, bounds, 3, 3)
    assert len(calls) == 1


def test_texts_have_the_tokens_they_were_made_with(checkpoints: ModuleType, tmp_path: Path) -> None:
    checkpoints.write_tokenizer(tmp_path, ends=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    lengths = checkpoints.lengths_of("chunks", 5000)
    ids = tokenizer(checkpoints.texts_of(lengths, 1))["input_ids"]
    assert [*map(len, ids)] == lengths
    assert {each[-1] for each in ids} == {tokenizer.convert_tokens_to_ids("<|endoftext|>")}
    assert min(lengths) >= 20
    assert max(lengths) <= 500
