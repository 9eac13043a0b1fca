from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
import torch

import local_throughput

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    ("model", "sizes", "peer"),
    [
        ("mxbai", "tiny", "sentence-transformers"),
        ("qwen3", "tiny_qwen3", "sentence-transformers"),
        ("jina", "tiny", "padded JinaBERT"),
    ],
)
def test_a_model_is_measured_beside_a_peer_and_the_ceilings(
    model: str, sizes: str, peer: str, measure: Callable[..., Any], request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("sentence_transformers", reason="the peer is not installed")
    figures = measure(
        local_throughput.main,
        models=model,
        workloads="queries",
        shape=json.dumps(request.getfixturevalue(sizes)),
        texts=6,
        sizes="1,4",
        peers="sentence-transformers,padded",
        dtype="bfloat16",
    )
    rows = {row["contender"]: row for row in figures["rows"]}
    assert set(rows) == {"Embedder.local", peer}
    assert all(row["tokens_per_second"] > 0 for row in rows.values())
    # Causal queries share a prompt, which is computed once.
    shares = {row[share] for row in rows.values() for share in ("of_ceiling", "of_matrix_rate")}
    assert (shares == {None}) == (model == "qwen3")
    assert rows[peer]["batch"] in {1, 4}
    assert rows["Embedder.local"]["batch"] is None
    assert {row["texts"] for row in rows.values()} == {6}
    (facts,) = figures["models"].values()
    assert facts["ceiling"]["tokens_per_second"] > 0
    assert facts["matrix_rate"] > 0
    assert {*facts["cosines"]} == {"queries", "chunks"}
    for cosine in facts["cosines"].values():
        assert cosine["least"] > max(0.999, facts["cosine_of_different_texts"])


def test_compiled_peers_are_measured_or_said_to_be_missing(measure: Callable[..., Any], tiny: dict[str, Any]) -> None:
    figures = measure(
        local_throughput.main,
        models="mxbai",
        lengths="10:30",
        shape=json.dumps(tiny),
        texts=4,
        sizes="1,2",
        peers="openvino,openvino-streams,onnx",
        dtype="float32",
    )
    contenders = {row["contender"] for row in figures["rows"]}
    (facts,) = figures["models"].values()
    assert {row["workload"] for row in figures["rows"]} == {"10-30"}
    for peer, package, name in (
        ("openvino", "openvino", "OpenVINO"),
        ("openvino-streams", "openvino", "OpenVINO, 2 streams"),
        ("onnx", "onnx", "ONNX Runtime (fp32)"),
    ):
        assert (name in contenders) == (peer not in facts["did_not_run"])
        if find_spec(package) is None:
            assert package in facts["did_not_run"][peer]


def test_wrong_vectors_end_the_script_with_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny: dict[str, Any]
) -> None:
    monkeypatch.setattr(local_throughput, "LEAST_COSINE", 1.1)
    options = ["--models", "mxbai", "--texts", "2", "--workloads", "queries", "--peers", "padded", "--rounds", "1"]
    assert local_throughput.main([*options, "--shape", json.dumps(tiny), "--folder", str(tmp_path)]) == 1
    assert "WRONG: mxbai-embed-large-v1: the mean cosine of queries" in capsys.readouterr().out
    assert not [*tmp_path.iterdir()], "the checkpoint is removed"


@pytest.mark.parametrize(
    "options",
    [
        "--lengths 500:20",
        "--dtype int8",
        "--dtype float16",
        "--texts 0",
        "--sizes abc",
        "--sizes 64,0",
        "--models 9b",
        "--rounds -1",
        "--row-seconds nan",
        "--shape [1]",
    ],
)
def test_an_option_that_cannot_be_is_refused_by_name(options: str, refused: Callable[..., str]) -> None:
    assert f"argument {options.partition(' ')[0]}" in refused(local_throughput.main, options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_how_to_try_it(refused: Callable[..., str]) -> None:
    assert "try --device cpu" in refused(local_throughput.main, "--device cuda")
