"""What `qwen-embed serve` would run, read by the engines' own parsers, and run on the CPU."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from typer.testing import CliRunner

from ports import free_port
from qwen_embed_integrations import Embedder, Reranker, cli
from qwen_embed_integrations.profiles import PROFILES
from real_servers import Engine, environment, python_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from click.testing import Result

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
# Every model that has a profile and weights, but those that an engine cannot serve rightly.
_REFUSED = {
    "sglang": r"jina-embeddings-v2|mxbai-rerank|mxbai-embed-xsmall",
    "vllm": r"jina-embeddings-v2|mxbai-rerank-\w+-v1",
}
_CROSS_ENCODER = "BAAI/bge-reranker-v2-m3"
_DEVICES = {"gpu": (), "cpu": ("--device", "cpu")}
_CHOSEN = (
    *("--memory-fraction", "0.5", "--dtype", "float16", "--context-length", "256", "--revision", "main"),
    *("--served-model-name", "name", "--api-key-env", "KEY"),
)


class Case(NamedTuple):
    """One command line: a model on a device, plain or with every option."""

    model: str
    device: str
    full: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        replicas = ("--replicas", "2") if self.device == "gpu" else ()
        return (*_DEVICES[self.device], *(*_CHOSEN, *replicas) * self.full)


def _models() -> list[str]:
    return [*(profile.name for profile in PROFILES if profile.architecture), _CROSS_ENCODER]


def _asked(engine: Engine, model: str, *options: str) -> Result:
    task = ("--task", "rerank") if model == _CROSS_ENCODER else ()
    settings = ("--engine", engine, "--python", python_of(engine), "--dry-run", *task, *options)
    return CliRunner().invoke(cli.build_app(), ["serve", model, *settings])


def _command(engine: Engine, case: Case) -> list[str]:
    done = _asked(engine, case.model, *case.options)
    assert done.exit_code == 0, done.output
    words = shlex.split(done.stdout)
    return words[words.index("serve") + 1 :]


@pytest.fixture(scope="module")
def parsed(engine: Engine) -> dict[Case, dict[str, Any]]:
    """What an engine's own parser makes of the commands, read by one interpreter."""
    served = [name for name in _models() if not re.search(_REFUSED[engine], name)]
    cases = [Case(name, device, full) for name in served for device in _DEVICES for full in (False, True)]
    done = subprocess.run(  # noqa: S603 the engine's own parser
        [python_of(engine), "-W", "ignore", "-c", _PARSERS[engine]],
        input="".join(json.dumps(_command(engine, case)) + "\n" for case in cases),
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    read = [json.loads(line[6:]) for line in done.stdout.splitlines() if line.startswith("PARSED")]
    return dict(zip(cases, read, strict=True))


@pytest.fixture
def only_sglang(engine: Engine) -> None:
    if engine != "sglang":
        pytest.skip("SGLang's settings")


@pytest.fixture
def only_vllm(engine: Engine) -> None:
    if engine != "vllm":
        pytest.skip("vLLM's settings")


def test_the_engines_own_parser_takes_the_command_of_every_model(
    engine: Engine, parsed: dict[Case, dict[str, Any]]
) -> None:
    assert {case.model for case in parsed} >= {"Qwen/Qwen3-Embedding-8B", "Qwen/Qwen3-Reranker-4B", _CROSS_ENCODER}
    for case, read in parsed.items():
        length = "context_length" if engine == "sglang" else "max_model_len"
        assert (read["host"], read["port"]) == ("127.0.0.1", 30000), case
        if case.full:
            assert read[length] == 256, case
            assert (read["dtype"], read["revision"]) == ("float16", "main"), case


def test_what_an_engine_cannot_serve_rightly_is_refused(engine: Engine) -> None:
    for name in _models():
        if re.search(_REFUSED[engine], name):
            done = _asked(engine, name)
            assert (done.exit_code, f"`model` {name}" in str(done.exception)) == (1, True), name


@pytest.mark.usefixtures("only_sglang")
def test_sglang_embeds_but_for_the_reranker_that_answers(parsed: dict[Case, dict[str, Any]]) -> None:
    for case, read in parsed.items():
        answers = "Qwen3-Reranker" in case.model
        assert read["is_embedding"] is not answers, case
        assert bool(read["chat_template"]) is answers, case
        if not answers:
            assert (read["chunked_prefill_size"], read["disable_radix_cache"]) == (-1, True), case
        if case.full:
            assert read["mem_fraction_static"] == 0.5, case
            assert read["dp_size"] == (2 if case.device == "gpu" else 1), case
        assert (read["device"] == "cpu") is (case.device == "cpu"), case


@pytest.mark.usefixtures("only_vllm")
def test_vllm_pools_and_knows_how_each_model_is_changed(parsed: dict[Case, dict[str, Any]]) -> None:
    for case, read in parsed.items():
        assert read["runner"] == "pooling", case
        if "embed" in case.model.lower():
            assert (read["convert"], read["hf_overrides"]) == ("embed", {"is_matryoshka": True}), case
        elif case.model != _CROSS_ENCODER:
            assert len(read["hf_overrides"]["classifier_from_token"]) == 2, case
            assert read["chat_template"], case
        if case.full and case.device == "gpu":
            assert (read["gpu_memory_utilization"], read["data_parallel_size"]) == (0.5, 2), case


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
