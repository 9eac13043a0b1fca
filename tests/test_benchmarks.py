"""The scripts in benchmarks/ run; what they measure is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_the_throughput_script_measures_every_client_over_the_same_server(tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    options = ["--texts", "128", "--rounds", "1", "--latency-ms", "5", "--sizes", "64,128", "--output", str(output)]
    run = subprocess.run(  # noqa: S603 our own script
        [sys.executable, BENCHMARKS / "served_throughput.py", *options], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    cases = json.loads(output.read_text(encoding="utf-8"))["cases"]
    assert [title.partition(",")[0] for title in cases] == ["base64 replies", "float replies", "base64 replies"]
    for figures in cases.values():
        assert {each["name"].partition(" ")[0].rstrip(",") for each in figures} == {
            "Embedder",
            "ServedEmbeddings",
            "ServedEmbedding",
            "OpenAIEmbeddings",
            "OpenAILikeEmbedding",
        }
        assert all(each["texts_per_second"] > 0 for each in figures)
