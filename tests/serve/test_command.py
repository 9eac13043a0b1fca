from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import checkpoints
import loopback
from ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from serve_process import Serving

pytestmark = pytest.mark.skipif(os.name == "nt", reason="engines run on Linux")

KEY = "a-key-nobody-may-see"


def test_a_ready_server_is_announced_with_the_lines_that_connect(serving: Callable[..., Serving], model: str) -> None:
    port = str(free_port())
    started = serving(model, "--device", "cpu", "--port", port)
    started.until_ready()
    assert re.search(rf"qwen-embed: ready after \d+ s at http://127\.0\.0\.1:{port}", started.stderr)
    names: dict[str, object] = {}
    exec(compile(started.stdout, "printed", "exec"), names)  # noqa: S102 our own lines
    with names["embedder"] as embedder:  # type: ignore[attr-defined]
        assert embedder.embed_documents(["a"]).shape == (1, loopback.SIZE)
    assert f"qwen-embed doctor http://127.0.0.1:{port}" in started.stdout


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str
)
def test_a_signal_ends_all_that_was_started(
    number: int, status: int, serving: Callable[..., Serving], model: str
) -> None:
    if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("these tests run under nohup, and what they start is asked to be deaf to it")
    started = serving(model, "--device", "cpu", "--port", str(free_port()))
    started.until_ready()
    assert len(started.engine_pids) == 3
    started.process.send_signal(number)
    assert started.ended() == status
    assert started.engine_is_gone()
    assert "Traceback" not in started.stderr


def test_all_ends_even_if_this_process_is_killed(serving: Callable[..., Serving], model: str) -> None:
    started = serving(model, "--device", "cpu", "--port", str(free_port()))
    started.until_ready()
    started.process.kill()
    started.process.wait()
    assert started.engine_is_gone()


def test_ctrl_c_while_it_starts_ends_it_too(serving: Callable[..., Serving], model: str) -> None:
    started = serving(model, "--device", "cpu", "--port", str(free_port()), FAKE_STARTS_IN="600")
    started.until_engine_runs()
    started.process.send_signal(signal.SIGINT)
    assert started.ended() == 130
    assert started.engine_is_gone()
    assert started.stdout == ""


def test_an_early_death_is_reported_with_its_cause(serving: Callable[..., Serving], model: str) -> None:
    started = serving(model, "--device", "cpu", "--port", str(free_port()), "--", "--crash")
    assert started.ended() == 1
    assert started.stderr.splitlines()[-1] == (
        "qwen-embed: the server ended with status 3: ValueError: Loaded weights leave no memory for the KV cache."
    )
    assert started.engine_is_gone()


def test_a_log_file_takes_the_engines_lines_and_a_failure_shows_the_last(
    serving: Callable[..., Serving], model: str
) -> None:
    log = Path(model).parent / "engine.log"
    port = str(free_port())
    started = serving(model, "--device", "cpu", "--port", port, "--log", str(log), "--", "--crash")
    assert started.ended() == 1
    assert "server_args=" in log.read_text(encoding="utf-8")
    assert "Received sigquit" in started.stderr


def test_a_server_that_is_never_ready_is_given_up(serving: Callable[..., Serving], model: str) -> None:
    port = str(free_port())
    started = serving(model, "--device", "cpu", "--port", port, "--timeout", "2", FAKE_STARTS_IN="600")
    assert started.ended() == 1
    assert "was not ready after 2 s" in started.stderr
    assert started.engine_is_gone()


def test_a_key_shows_nowhere(serving: Callable[..., Serving], model: str) -> None:
    port = str(free_port())
    started = serving(model, "--device", "cpu", "--port", port, "--api-key-env", "KEY_OF_MINE", KEY_OF_MINE=KEY)
    started.until_ready()
    started.process.send_signal(signal.SIGINT)
    started.ended()
    assert "server_args=" in started.stderr  # which holds the key, as SGLang's own line does
    assert "***" in started.stderr
    assert KEY not in started.stderr + started.stdout
    assert 'api_key=os.environ["KEY_OF_MINE"]' in started.stdout


def test_a_dry_run_prints_one_command_and_says_why_beside_it(serving: Callable[..., Serving]) -> None:
    started = serving("Qwen/Qwen3-Embedding-0.6B", "--dry-run", "--port", "31234", engine=False)
    assert started.ended() == 0
    (line,) = started.stdout.splitlines()
    words = shlex.split(line)
    assert words[:4] == ["sglang", "serve", "--model-path", "Qwen/Qwen3-Embedding-0.6B"]
    assert words[words.index("--port") + 1] == "31234"
    assert "SGLang is not installed here; this is for 0.5.23" in started.stderr
    assert "# --is-embedding: its vectors are wanted" in started.stderr
    assert not started.pids_file.exists()


def test_a_dry_run_is_for_the_version_that_is_installed(serving: Callable[..., Serving]) -> None:
    started = serving("Qwen/Qwen3-Embedding-0.6B", "--dry-run")
    assert started.ended() == 0
    assert started.stdout.startswith(f"{sys.executable} -m sglang.launch_server --model-path")
    assert "not installed" not in started.stderr


def test_a_dry_run_of_copies_behind_a_router_is_a_script(serving: Callable[..., Serving]) -> None:
    started = serving("Qwen/Qwen3-Embedding-0.6B", "--dry-run", "--replicas", "2", "--router", engine=False)
    assert started.ended() == 0
    first, second, router = started.stdout.splitlines()
    assert first.startswith("CUDA_VISIBLE_DEVICES=0 sglang serve")
    assert first.endswith(" &")
    assert second.endswith(" &")
    assert "sglang_router.launch_router" in router
    assert subprocess.run(["bash", "-n"], input=started.stdout, text=True, check=False).returncode == 0  # noqa: S607


def test_without_a_gpu_and_an_engine_the_local_classes_are_named(serving: Callable[..., Serving]) -> None:
    started = serving("Qwen/Qwen3-Embedding-0.6B", engine=False)
    assert started.ended() == 1
    (line,) = started.stderr.splitlines()
    for expected in ("SGLang is not installed", "no GPU", "Embedder.local", "LocalEmbeddings", "LocalEmbedding "):
        assert expected in line


def test_without_a_gpu_a_rerankers_local_classes_are_named(serving: Callable[..., Serving]) -> None:
    started = serving("Qwen/Qwen3-Reranker-0.6B")
    assert started.ended() == 1
    (line,) = started.stderr.splitlines()
    assert "no GPU" in line
    assert "not installed" not in line
    assert "Reranker.local" in line
    assert "LocalRerank" in line


def test_a_port_in_use_is_said_before_anything_starts(serving: Callable[..., Serving], model: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        started = serving(model, "--device", "cpu", "--port", port)
        assert started.ended() == 1
    assert f"`--port` {port} cannot be used" in started.stderr
    assert "starting" not in started.stderr
    assert not started.pids_file.exists()


def test_a_log_that_cannot_be_written_is_said_before_anything_starts(
    serving: Callable[..., Serving], model: str
) -> None:
    started = serving(model, "--device", "cpu", "--port", str(free_port()), "--log", "/no/such/folder/engine.log")
    assert started.ended() == 1
    assert (
        started.stderr
        == "qwen-embed: `--log` /no/such/folder/engine.log cannot be written: No such file or directory.\n"
    )
    assert not started.pids_file.exists()


def test_a_key_that_is_not_set_is_said_to_be_missing(serving: Callable[..., Serving], model: str) -> None:
    started = serving(model, "--device", "cpu", "--api-key-env", "NO_SUCH_KEY")
    assert started.ended() == 1
    assert "NO_SUCH_KEY, which is not set" in started.stderr


def test_a_key_in_place_of_its_variables_name_is_not_repeated(serving: Callable[..., Serving]) -> None:
    for wrong in (KEY, "a;b", ""):
        started = serving("Qwen/Qwen3-Embedding-0.6B", "--dry-run", "--api-key-env", wrong, engine=False)
        assert started.ended() == 1
        assert started.stderr == (
            "qwen-embed: `--api-key-env` takes the name of an environment variable: letters, digits and underscores.\n"
        )


def test_an_unknown_model_is_served_with_a_warning_of_what_is_assumed(serving: Callable[..., Serving]) -> None:
    started = serving("someone/unknown", "--task", "embed", "--dry-run", "--port", "31234", engine=False)
    assert started.ended() == 0
    (line,) = [line for line in started.stderr.splitlines() if "WARNING" in line]
    assert "not known" in line
    assert "qwen-embed doctor http://127.0.0.1:31234 --reference someone/unknown" in line


def test_an_unknown_model_in_the_hubs_cache_is_refused_where_it_would_be_pooled_wrongly(
    serving: Callable[..., Serving], tmp_path: Path
) -> None:
    files = tmp_path / "hub" / "models--intfloat--multilingual-e5-large" / "snapshots" / "main"
    modules = [{"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]
    config = {"architectures": ["XLMRobertaModel"], "model_type": "xlm-roberta"}
    checkpoints.write_json(files / "config.json", config)
    checkpoints.write_json(files / "modules.json", modules)
    checkpoints.write_json(files / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    arguments = ("intfloat/multilingual-e5-large", "--dry-run")
    started = serving(*arguments, engine=False, HF_HUB_CACHE=str(tmp_path / "hub"))
    assert started.ended() == 1
    assert "would pool this model by 'cls', and it wants 'mean'. Use --engine vllm" in started.stderr


@pytest.fixture
def small_gpu(tmp_path: Path) -> dict[str, str]:
    """Variables under which a GPU of 16 GiB is found."""
    program = tmp_path / "driver" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho '0, GPU-aa11, 16384, 16000'\n")
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": "0"}


def test_a_dry_run_is_for_the_gpu_that_is_here_even_without_an_engine(
    serving: Callable[..., Serving], small_gpu: dict[str, str]
) -> None:
    started = serving("Qwen/Qwen3-Embedding-0.6B", "--dry-run", engine=False, **small_gpu)
    assert started.ended() == 0
    assert "of 16 GiB" in started.stderr
    assert "24 GiB" not in started.stderr


def test_a_model_that_the_gpu_cannot_hold_is_not_started(
    serving: Callable[..., Serving], small_gpu: dict[str, str]
) -> None:
    tried, shown = (serving("Qwen/Qwen3-Embedding-8B", *way, **small_gpu) for way in ((), ("--dry-run",)))
    assert tried.ended() == 1
    assert "its weights alone need 14.1 GiB" in tried.stderr
    assert not tried.pids_file.exists()
    assert shown.ended() == 0
    assert "WARNING: `model` Qwen/Qwen3-Embedding-8B: its weights alone need 14.1 GiB" in shown.stderr


def test_a_build_from_source_is_served_as_the_newest(serving: Callable[..., Serving]) -> None:
    started = serving("Qwen/Qwen3-Reranker-0.6B", "--dry-run", version="0.1.dev1+g1a2b3c4")
    assert started.ended() == 0
    assert "SGLang 0.1.dev1+g1a2b3c4 was built from source and tells no version; it is taken for" in started.stderr


def test_a_bind_beyond_this_machine_without_a_key_is_warned_of(serving: Callable[..., Serving]) -> None:
    open_wide = serving("Qwen/Qwen3-Embedding-0.6B", "--dry-run", "--host", "0.0.0.0")  # noqa: S104 nothing listens
    locked = serving("Qwen/Qwen3-Embedding-0.6B", "--dry-run", "--host", "0.0.0.0", "--api-key-env", "K")  # noqa: S104
    assert open_wide.ended() == locked.ended() == 0
    assert "WARNING: --host 0.0.0.0" in open_wide.stderr
    assert "WARNING" not in locked.stderr
    assert '--api-key "$K"' in locked.stdout
