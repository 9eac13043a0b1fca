"""What `qwen-embed serve` would run, read by the engines' own parsers, and run on the CPU."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from qwen_embed_integrations import Embedder, Reranker, cli
from real_servers import Engine, environment, free_port, python_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from qwen_embed_integrations import ModelProfile

_PARSERS = {
    "sglang": """
import argparse, json, sys
from sglang.srt.server_args import ServerArgs
parser = argparse.ArgumentParser()
ServerArgs.add_cli_args(parser)
for line in sys.stdin:
    print("PARSED" + json.dumps(vars(parser.parse_args(json.loads(line))), default=str))
""",
    "vllm": """
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = make_arg_parser(FlexibleArgumentParser())
for line in sys.stdin:
    print("PARSED" + json.dumps(vars(parser.parse_args(json.loads(line))), default=str))
""",
}
_MODELS = {
    "sglang": ("Qwen/Qwen3-Embedding-0.6B", "Qwen/Qwen3-Reranker-4B", "mxbai-embed-large", "BAAI/bge-reranker-v2-m3"),
    "vllm": ("Qwen/Qwen3-Embedding-8B", "Qwen/Qwen3-Reranker-0.6B", "mxbai-embed-xsmall", "mxbai-rerank-base-v2"),
}
_ALL = (
    *("--replicas", "2", "--memory-fraction", "0.5", "--dtype", "float16", "--context-length", "4096"),
    *("--revision", "main", "--served-model-name", "name", "--api-key-env", "KEY"),
)


def dry_run(engine: Engine, model: str, *options: str) -> list[str]:
    task = ("--task", "rerank") if model.startswith("BAAI") else ()
    settings = ["--engine", engine, "--python", python_of(engine), "--dry-run", *options]
    done = CliRunner().invoke(cli.build_app(), ["serve", model, *task, *settings])
    assert done.exit_code == 0, done.output
    words = shlex.split(done.stdout)
    return words[words.index("serve") + 1 :]


@pytest.fixture(scope="module", params=["sglang", "vllm"])
def parsed(request: pytest.FixtureRequest) -> tuple[Engine, list[dict[str, Any]]]:
    """What an engine's own parser makes of the commands, each plain and with every option."""
    engine: Engine = request.param
    lines = [dry_run(engine, model, *options) for model in _MODELS[engine] for options in ((), _ALL)]
    done = subprocess.run(  # noqa: S603 the engine's own parser
        [python_of(engine), "-W", "ignore", "-c", _PARSERS[engine]],
        input="".join(json.dumps(line) + "\n" for line in lines),
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return engine, [json.loads(line[6:]) for line in done.stdout.splitlines() if line.startswith("PARSED")]


def test_the_engines_own_parser_takes_every_command(parsed: tuple[Engine, list[dict[str, Any]]]) -> None:
    engine, read = parsed
    assert len(read) == 2 * len(_MODELS[engine])
    plain, full = read[0], read[1]
    if engine == "sglang":
        assert plain["is_embedding"]
        assert plain["chunked_prefill_size"] == -1
        assert not read[2]["is_embedding"]
        assert (full["dp_size"], full["mem_fraction_static"], full["context_length"]) == (2, 0.5, 4096)
    else:
        assert plain["runner"] == "pooling"
        assert plain["hf_overrides"] == {"is_matryoshka": True}
        assert (full["data_parallel_size"], full["gpu_memory_utilization"], full["max_model_len"]) == (2, 0.5, 4096)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Run `qwen-embed serve` until the test ends, and return the address it prints."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> str:
        log = tmp_path / "engine.log"
        process = subprocess.Popen(  # noqa: S603 our own command
            [sys.executable, "-m", "qwen_embed_integrations.cli", "serve", *arguments, "--log", str(log)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment() | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        )
        running.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"doctor (http\S+)", line):
                return found[1]
        raise AssertionError(log.read_text(encoding="utf-8")[-3000:])

    yield start
    for process in running:
        process.terminate()
        process.communicate()


def test_an_embedder_started_with_sglang_embeds(
    serve: Callable[..., str], tiny_embedder: Path, tiny_profile: ModelProfile
) -> None:
    settings = ("--python", python_of("sglang"), "--device", "cpu", "--port", str(free_port()))
    url = serve(str(tiny_embedder), *settings)
    with Embedder.served(str(tiny_embedder), base_url=url, profile=tiny_profile) as embedder:
        assert embedder.embed_queries(["a", "b"]).shape == (2, 64)


def test_a_reranker_started_with_vllm_reranks(serve: Callable[..., str], tiny_reranker: Path) -> None:
    name = "Qwen/Qwen3-Reranker-0.6B"
    settings = ("--engine", "vllm", "--python", python_of("vllm"), "--device", "cpu", "--port", str(free_port()))
    url = serve(str(tiny_reranker), *settings, "--served-model-name", name, "--profile", name)
    with Reranker.served(name, base_url=url) as reranker:
        assert sorted(each.index for each in reranker.rerank("a", ["b", "c"])) == [0, 1]
