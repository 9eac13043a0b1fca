from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from pressing import COMMAND
from qwen_embed_integrations.benchmark.command import bench
from qwen_embed_integrations.errors import InvalidInputError, QwenEmbedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typer.testing import Result

    import loopback
    from qwen_embed_integrations.benchmark import Dataset

    Bench = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path) -> Bench:
    app = typer.Typer()
    app.command()(bench)

    def invoke(*arguments: object) -> Result:
        output = tmp_path / "out"
        return CliRunner().invoke(app, ["--output", str(output), "--latency-queries", "3", *map(str, arguments)])

    return invoke


@pytest.fixture
def words(dataset: Dataset, folder: Callable[..., Path]) -> Path:
    """The made-up dataset as a folder."""
    return folder(
        corpus=[{"_id": key, "title": "", "text": text} for key, text in dataset.documents.items()],
        queries=[{"_id": key, "text": text} for key, text in dataset.queries.items()],
        qrels="".join(f"{query}\t{key}\t1\n" for query, grades in dataset.relevance.items() for key in grades),
        name="words",
    )


def hashed(request: loopback.Request) -> loopback.Answer | None:
    """Embed by counting words, so that a served model finds something."""
    if not request.path.endswith("/embeddings"):
        return None
    rows = np.zeros((len(request.body["input"]), 1024), np.float32)
    for row, text in zip(rows, request.body["input"], strict=True):
        for word in re.findall(r"\w+", text.rpartition("Query:")[2]):
            row[zlib.crc32(word.encode()) % 1024] += 1
    data = [{"index": index, "object": "embedding", "embedding": row.tolist()} for index, row in enumerate(rows)]
    return 200, {"object": "list", "data": data, "usage": {"prompt_tokens": 5, "total_tokens": 5}}, {}


def on_disk(tmp_path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    return content


@pytest.mark.usefixtures("minilm")  # skips where it is not installed
def test_the_embedded_default_is_measured_on_a_folder(call: Bench, words: Path, tmp_path: Path) -> None:
    result = call("--data", words, "--dimensions", "384,128", "--dtype", "float32")
    assert result.exit_code == 0, result.output
    systems = on_disk(tmp_path)["systems"]
    assert [system["name"] for system in systems] == [
        "all-MiniLM-L6-v2 (384)",
        "all-MiniLM-L6-v2 (128)",
        "BM25",
        "all-MiniLM-L6-v2 (384) + BM25",
    ]
    assert [system["settings"].get("dimensions") for system in systems] == [384, 128, None, None]
    assert systems[0]["metrics"]["nDCG@10"]["mean"] > 0.5
    assert systems[0]["index_check"]["recall_at_10"] >= 0.99
    assert systems[0]["indexing"]["tokens"] > 1000
    assert "The report: " in result.output
    assert (tmp_path / "out" / "report.html").is_file()


def test_served_models_and_a_served_reranker_are_measured(
    call: Bench, words: Path, tmp_path: Path, server: loopback.Server, reranker_server: loopback.Server
) -> None:
    server.reply(hashed)
    result = call(
        *("--data", words, "--model", "Qwen/Qwen3-Embedding-0.6B", "--base-url", server.base_url),
        *("--dimensions", "1024", "--instruction", "Find the words", "--no-fusion", "--limit", "20"),
        *("--rerank", "Qwen/Qwen3-Reranker-0.6B", "--rerank-base-url", reranker_server.base_url, "--rerank-depth", "5"),
    )
    assert result.exit_code == 0, result.output
    content = on_disk(tmp_path)
    assert [system["name"] for system in content["systems"]] == [
        "Qwen3-Embedding-0.6B (1024)",
        "BM25",
        "Qwen3-Embedding-0.6B (1024) → Qwen3-Reranker-0.6B",
    ]
    assert content["dataset"]["queries"] == 20
    assert content["settings"]["base_url"] == server.base_url
    assert any(text.startswith("Instruct: Find the words\nQuery:") for text in server.texts())
    assert set(content["systems"][2]["latency"]) == {"total", "embed", "search", "rerank"}
    assert {len(request.body["documents"]) for request in reranker_server.posted("/rerank")} == {5}


def test_a_failed_system_ends_in_status_1_and_leaves_the_others(
    call: Bench, words: Path, tmp_path: Path, server: loopback.Server
) -> None:
    server.reply(lambda _: (401, {"error": {"message": "no such key"}}, {}))
    result = call("--data", words, "--model", "Qwen/Qwen3-Embedding-0.6B", "--base-url", server.base_url)
    assert result.exit_code == 1
    assert "qwen-embed: 2 of 3 systems failed: Qwen3-Embedding-0.6B (1024)" in result.stderr
    assert "BM25" in result.stdout
    finished = [system["name"] for system in on_disk(tmp_path)["systems"] if system["error"] is None]
    assert finished == ["BM25"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "`data` 'nowhere' is no folder"),
        (["--dimensions", "many"], "`dimensions` is 'many'"),
        (["--api-key-env", "NOT_SET_ANYWHERE"], "`--api-key-env` names NOT_SET_ANYWHERE, which is not set"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    call: Bench, tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = call(*arguments)
    assert isinstance(result.exception, InvalidInputError)
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_model_that_cannot_be_loaded_ends_the_run_at_once(call: Bench, words: Path, tmp_path: Path) -> None:
    result = call("--data", words, "--model", tmp_path / "no-model")
    assert isinstance(result.exception, QwenEmbedError)
    assert not (tmp_path / "out").exists()


def test_the_key_is_in_no_file(
    call: Bench, words: Path, tmp_path: Path, server: loopback.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_KEY", "sk-very-secret")
    server.reply(hashed)
    result = call(
        *("--data", words, "--model", "Qwen/Qwen3-Embedding-0.6B", "--no-bm25", "--limit", "5"),
        *("--base-url", server.base_url, "--api-key-env", "BENCH_KEY"),
    )
    written = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "out").iterdir())
    assert "sk-very-secret" not in written + result.output


def test_importing_the_command_loads_no_heavy_package() -> None:
    code = (
        "import sys; import qwen_embed_integrations.benchmark.command;"
        "heavy = {'torch', 'transformers', 'openai', 'chromadb', 'bm25s', 'jinja2', 'psutil', 'scipy'};"
        "sys.exit(str(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.stderr == ""


def start(words: Path, output: Path, server: loopback.Server, *arguments: str) -> subprocess.Popen[str]:
    """Start the command in a process of its own, on a console that knows ASCII only."""
    return subprocess.Popen(  # noqa: S603 our own code
        [
            *(*COMMAND, "bench"),
            *("--data", str(words), "--output", str(output), "--latency-queries", "3", "--limit", "5"),
            *("--model", "Qwen/Qwen3-Embedding-0.6B", "--base-url", server.base_url, "--no-fusion"),
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="ascii",
        env={**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "200"},
    )


def test_a_console_without_unicode_is_no_obstacle(
    words: Path, tmp_path: Path, server: loopback.Server, reranker_server: loopback.Server
) -> None:
    server.reply(hashed)
    reranker = ("--rerank", "Qwen/Qwen3-Reranker-0.6B", "--rerank-base-url", reranker_server.base_url)
    with start(words, tmp_path / "out", server, *reranker) as running:
        printed, errors = running.communicate()
    assert (running.returncode, errors) == (0, "")
    assert "Qwen3-Embedding-0.6B (1024) ? Qwen3-Reranker-0.6B" in " ".join(printed.split())
    assert "The report: " in printed


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for another process")
def test_ctrl_c_says_where_the_finished_results_are(
    words: Path, tmp_path: Path, server: loopback.Server, reranker_server: loopback.Server
) -> None:
    server.reply(hashed)
    reranker = ("--rerank", "Qwen/Qwen3-Reranker-0.6B", "--rerank-base-url", reranker_server.base_url)
    with start(words, tmp_path / "out", server, *reranker) as running:

        def press(_: loopback.Request) -> None:
            if len(reranker_server.posted("/rerank")) == 1:  # wherever its main thread is now
                running.send_signal(signal.SIGINT)

        reranker_server.reply(press)
        printed, errors = running.communicate()
    assert (running.returncode, printed) == (130, "")
    (line,) = errors.splitlines()
    assert line.startswith("qwen-embed: interrupted; the systems that finished are in ")
    assert str(tmp_path / "out" / "results.json") in line
    assert [system["name"] for system in on_disk(tmp_path)["systems"]] == ["Qwen3-Embedding-0.6B (1024)", "BM25"]
