"""The scripts in benchmarks/speed/ run; what they measure is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks/speed"


@pytest.mark.parametrize(("option", "value"), [("--texts", "0"), ("--sizes", "abc"), ("--sizes", "64,0")])
def test_an_option_that_cannot_be_is_refused_by_name(option: str, value: str) -> None:
    run = subprocess.run(  # noqa: S603 our own script
        [sys.executable, BENCHMARKS / "served_throughput.py", option, value],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert option in run.stderr
    assert "Traceback" not in run.stderr


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


TINY = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 96}
TINY_QWEN3 = TINY | {"num_key_value_heads": 2, "head_dim": 16}


def measure(script: str, folder: Path, **options: Any) -> Any:
    """Run a script and read the figures it wrote."""
    output = folder / "figures.json"
    given = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    run = subprocess.run(  # noqa: S603 our own script
        [sys.executable, BENCHMARKS / script, *given, "--output", str(output)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(output.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("script", "option", "value"),
    [
        ("local_throughput.py", "--lengths", "500:20"),
        ("local_throughput.py", "--dtype", "int8"),
        ("many_callers.py", "--models", "jina"),
        ("rerank_latency.py", "--documents", "0"),
    ],
)
def test_an_option_of_the_local_scripts_that_cannot_be_is_refused_by_name(script: str, option: str, value: str) -> None:
    run = subprocess.run(  # noqa: S603 our own script
        [sys.executable, BENCHMARKS / script, option, value], capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    assert option in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("model", "shape", "peer"),
    [
        ("mxbai", TINY, "sentence-transformers"),
        ("qwen3", TINY_QWEN3, "sentence-transformers"),
        ("jina", TINY, "padded batches"),
    ],
)
def test_local_throughput_is_measured_beside_a_peer_and_the_ceiling(
    model: str, shape: dict[str, Any], peer: str, tmp_path: Path
) -> None:
    found = measure(
        "local_throughput.py",
        tmp_path,
        models=model,
        workloads="queries",
        shape=json.dumps(shape),
        texts=6,
        rounds=1,
        sizes="1,4",
        peers="sentence-transformers,padded",
        dtype="bfloat16",
    )
    (measured,) = found["models"].values()
    figures = {each["name"]: each for each in measured["queries"]["figures"]}
    assert set(figures) == {"Embedder.local", peer, "GEMM ceiling"}
    assert all(each["tokens_per_second"] > 0 for each in figures.values())
    # Causal queries share a prompt, which is computed once.
    assert {each["ceiling"] is None for each in figures.values()} == {model == "qwen3"}
    assert figures[peer]["batch"] in {1, 4}
    assert measured["queries"]["texts"] == 6
    assert measured["queries cosine to float32"]["least"] > 0.999
    assert measured["chunks cosine to float32"]["least"] > 0.999


@pytest.mark.parametrize(
    ("peer", "package", "name"),
    [
        ("openvino", "openvino", "OpenVINO"),
        ("openvino-streams", "openvino", "OpenVINO, 2 streams"),
        ("onnx", "onnx", "ONNX Runtime (fp32)"),
    ],
)
def test_a_compiled_peer_is_measured_or_said_to_be_missing(peer: str, package: str, name: str, tmp_path: Path) -> None:
    found = measure(
        "local_throughput.py",
        tmp_path,
        models="mxbai",
        lengths="10:30",
        shape=json.dumps(TINY),
        texts=4,
        rounds=1,
        sizes="1,2",
        peers=peer,
        dtype="float32",
    )
    (measured,) = found["models"].values()
    names = {each["name"] for each in measured["10-30"]["figures"]}
    if find_spec(package) is None:
        assert package in measured["did not run"][peer]
        assert name not in names
    else:
        assert name in names


def test_every_made_text_has_the_tokens_it_should_and_every_peer_the_same_vectors(tmp_path: Path) -> None:
    code = """
import sys
from dataclasses import replace
from pathlib import Path
import torch, transformers
from support import peers
from support.shapes import SHAPES, write
from support.texts import WORKLOADS, TextMaker
folder, model, shape = Path(sys.argv[1]), sys.argv[2], eval(sys.argv[3])
shape = SHAPES[model].changed(shape)
folder = write(shape, folder, dtype=torch.float32)
maker = TextMaker(folder, shape.query_prefix, 3)
ours = peers.Ours(folder, torch.float32)
for workload in (WORKLOADS["queries"], WORKLOADS["chunks"]):
    texts = maker.make(workload, 9)
    counts = [len(transformers.AutoTokenizer.from_pretrained(folder)(text).input_ids) for text in texts.texts]
    assert min(counts) >= workload.shortest and max(counts) <= workload.longest and max(counts) - min(counts) > 10
    found, _ = peers.load(folder, shape, torch.float32)
    assert found
    for peer in found:
        assert peers.cosines(ours.embed(texts, None), peer.embed(texts, 4))[0] > 0.99999, peer.name
"""
    for model, shape in (("mxbai", TINY), ("qwen3", TINY_QWEN3), ("jina", TINY)):
        run = subprocess.run(  # noqa: S603 our own code
            [sys.executable, "-c", code, str(tmp_path), model, repr(shape)],
            capture_output=True,
            text=True,
            check=False,
            cwd=BENCHMARKS,
        )
        assert run.returncode == 0, run.stderr


def test_many_callers_are_measured_by_threads_and_in_an_event_loop(tmp_path: Path) -> None:
    pytest.importorskip("llama_index.embeddings.huggingface", reason="the peer is not installed")
    found = measure(
        "many_callers.py",
        tmp_path,
        models="qwen3",
        shape=json.dumps(TINY_QWEN3),
        callers=8,
        rounds=1,
    )
    (measured,) = found["models"].values()
    assert {each["callers"] for each in measured["together"]} == {"threads", "asyncio"}
    assert len({each["name"] for each in measured["together"]}) == 3
    assert all(0 < each["p50"] <= each["p95"] <= each["seconds"] * 1001 for each in measured["together"])
    assert set(measured["alone, ms"]) == {each["name"] for each in measured["together"]} | {"the model, directly"}


def test_reranking_is_measured_beside_both_ways_of_the_peer_with_the_same_scores(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers", reason="the peer is not installed")
    found = measure(
        "rerank_latency.py",
        tmp_path,
        shape=json.dumps(TINY_QWEN3),
        documents=5,
        tokens=30,
        rounds=1,
        sizes="1,5,50",
        dtype="bfloat16",
    )
    figures = {each["name"]: each for each in found["figures"]}
    assert set(figures) == {"Reranker.local", "CrossEncoder (causal)", "CrossEncoder (classifier)"}
    assert all(each["milliseconds"] > 0 for each in figures.values())
    assert all(each["difference"] < 0.05 for each in figures.values())
    # Documents have 20 to 40 tokens; the prompt around each, which is computed once here, has more.
    assert figures["Reranker.local"]["tokens"] < found["tokens of all prompts"] * 0.6
    for name in ("CrossEncoder (causal)", "CrossEncoder (classifier)"):
        assert figures[name]["batch"] in {1, 5}
        assert figures[name]["tokens"] >= found["tokens of all prompts"]
        assert found["float32"]["largest difference"][name] <= 1e-4
    assert found["float32"]["logits within"] > 0.01
