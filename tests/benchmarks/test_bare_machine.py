"""The scripts that run models, where torch and transformers are and nothing else is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SPEED = Path(__file__).parents[2] / "benchmarks/speed"
MISSING = (
    "langchain_core",
    "llama_index",
    "onnx",
    "openai",
    "openvino",
    "psutil",
    "pybase64",
    "rich",
    "sentence_transformers",
    "typer",
)
OPTIONS = {
    "local_throughput": "--models qwen3 --texts 2 --sizes 1,2",
    "rerank_latency": "--documents 4 --tokens 20 --sizes 1,2",
    "many_callers": "--models qwen3 --callers 3",
}
CODE = f"""
import importlib, sys
sys.modules.update(dict.fromkeys({MISSING!r}))
sys.path.insert(0, {str(SPEED)!r})
for script, options in {OPTIONS!r}.items():
    given = [*options.split(), "--shape", sys.argv[1], "--dtype", "float32", "--rounds", "1"]
    code = importlib.import_module(script).main([*given, "--output", sys.argv[2] + "/" + script + ".json"])
    assert code == 0, script
"""


@pytest.mark.timeout(0)  # a process of its own, that loads torch: on a busy machine minutes
def test_every_script_that_runs_models_needs_torch_and_transformers_alone(
    tmp_path: Path, tiny_qwen3: dict[str, Any]
) -> None:
    command = [sys.executable, "-c", CODE, json.dumps(tiny_qwen3), str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 our own scripts
    assert ended.returncode == 0, ended.stderr
    figures: dict[str, Any] = {
        script: json.loads((tmp_path / f"{script}.json").read_text(encoding="utf-8")) for script in OPTIONS
    }
    rows = figures["local_throughput"]["rows"]
    for contender in ("Embedder.local", "padded transformers (sdpa)"):
        assert {row["workload"] for row in rows if row["contender"] == contender} == {"queries", "chunks", "documents"}
    (facts,) = figures["local_throughput"]["models"].values()
    assert facts["cosines"]["chunks"]["least"] > 0.99999
    assert facts["cosine_of_different_texts"] < 0.9995
    (facts,) = figures["rerank_latency"]["models"].values()
    assert (
        facts["float32"]["largest_difference"]["padded transformers (sdpa)"] < 1e-4 < facts["float32"]["logits_within"]
    )
    callers = {row["contender"] for row in figures["many_callers"]["rows"]}
    assert callers == {"Embedder", "the model, directly", "transformers behind a lock"}
