from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import checkpoints
import fake_engine
import loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(os.name == "nt", reason="engines run on Linux")

KEY = "a-key-nobody-may-see"


class Serving:
    """`qwen-embed serve` as a process of its own, with an engine that behaves like SGLang."""

    def __init__(self, folder: Path, *arguments: str, engine: bool = True, **environment: str) -> None:
        self.pids_file, self.folder = folder / "pids", folder
        self.errors = folder / "stderr"
        self.output = folder / "stdout"
        support = Path(fake_engine.__file__).parent
        paths = [str(fake_engine.install(folder / "site"))] if engine else []
        inherited = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        inherited.pop("QWEN_EMBED_ENGINE_PYTHON", None)
        self.process = subprocess.Popen(  # noqa: S603 our own command
            [sys.executable, "-m", "qwen_embed_integrations.cli", "serve", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self.output.open("w"),
            stderr=self.errors.open("w"),
            env={
                **inherited,
                "PYTHONPATH": os.pathsep.join([*paths, str(support)]),
                "PATH": "/usr/bin:/bin",  # where no engine is
                "CUDA_VISIBLE_DEVICES": "",
                "FAKE_PIDS": str(self.pids_file),
                **environment,
            },
        )

    @property
    def said(self) -> str:
        return self.errors.read_text(encoding="utf-8")

    @property
    def printed(self) -> str:
        return self.output.read_text(encoding="utf-8")

    @property
    def engine_pids(self) -> list[int]:
        """The engine and the two processes it started."""
        return [int(pid) for pid in self.pids_file.read_text(encoding="utf-8").split()]

    def until_ready(self) -> None:
        deadline = time.monotonic() + 60
        while "check it" not in self.printed:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.1)

    def ended(self) -> int:
        return self.process.wait(timeout=60)

    def nothing_is_left(self, within: float = 10.0) -> bool:
        deadline = time.monotonic() + within
        while left := [pid for pid in self.engine_pids if _runs(pid)]:
            if time.monotonic() > deadline:
                return not left
            time.sleep(0.1)
        return True

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def _runs(pid: int) -> bool:
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607 a number
    return bool(listed.stdout.strip()) and not listed.stdout.startswith("Z")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    """Start `qwen-embed serve`."""
    started: list[Serving] = []

    def start(*arguments: str, engine: bool = True, **environment: str) -> Serving:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(Serving(folder, *arguments, engine=engine, **environment))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A folder that says enough of itself to be served."""
    folder = tmp_path / "Qwen3-Embedding-0.6B"
    checkpoints.write_json(folder / "config.json", {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"})
    return str(folder)


# --- without starting anything ----------------------------------------------------------------------------------


def test_a_dry_run_prints_one_command_and_says_why_beside_it(serving: Callable[..., Serving]) -> None:
    started = serving("Qwen/Qwen3-Embedding-0.6B", "--dry-run", "--port", "31234", engine=False)
    assert started.ended() == 0
    (line,) = started.printed.splitlines()
    words = shlex.split(line)
    assert words[:4] == ["sglang", "serve", "--model-path", "Qwen/Qwen3-Embedding-0.6B"]
    assert words[words.index("--port") + 1] == "31234"
    assert "SGLang is not installed here; this is for 0.5.23" in started.said
    assert "# --is-embedding: its vectors are wanted" in started.said
    assert not started.pids_file.exists()


def test_a_dry_run_is_for_the_version_that_is_installed(serving: Callable[..., Serving]) -> None:
    started = serving("Qwen/Qwen3-Embedding-0.6B", "--dry-run")
    assert started.ended() == 0
    assert started.printed.startswith(f"{sys.executable} -m sglang.launch_server --model-path")
    assert "not installed" not in started.said


def test_a_dry_run_of_copies_behind_a_router_is_a_script(serving: Callable[..., Serving]) -> None:
    started = serving("Qwen/Qwen3-Embedding-0.6B", "--dry-run", "--replicas", "2", "--router", engine=False)
    assert started.ended() == 0
    first, second, router = started.printed.splitlines()
    assert first.startswith("CUDA_VISIBLE_DEVICES=0 sglang serve")
    assert first.endswith(" &")
    assert second.endswith(" &")
    assert "sglang_router.launch_router" in router
    assert subprocess.run(["bash", "-n"], input=started.printed, text=True, check=False).returncode == 0  # noqa: S607


def test_without_a_gpu_and_an_engine_the_local_classes_are_named(serving: Callable[..., Serving]) -> None:
    started = serving("Qwen/Qwen3-Embedding-0.6B", engine=False)
    assert started.ended() == 1
    (line,) = started.said.splitlines()
    for expected in ("SGLang is not installed", "no GPU", "Embedder.local", "LocalEmbeddings", "LocalEmbedding "):
        assert expected in line


def test_without_a_gpu_a_rerankers_local_classes_are_named(serving: Callable[..., Serving]) -> None:
    started = serving("Qwen/Qwen3-Reranker-0.6B")
    assert started.ended() == 1
    (line,) = started.said.splitlines()
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
    assert f"`--port` {port} cannot be used" in started.said
    assert not started.pids_file.exists()


def test_a_log_that_cannot_be_written_is_said_before_anything_starts(
    serving: Callable[..., Serving], model: str
) -> None:
    started = serving(model, "--device", "cpu", "--port", str(free_port()), "--log", "/no/such/folder/engine.log")
    assert started.ended() == 1
    assert (
        started.said == "qwen-embed: `--log` /no/such/folder/engine.log cannot be written: No such file or directory.\n"
    )
    assert not started.pids_file.exists()


def test_a_key_that_is_not_set_is_said_to_be_missing(serving: Callable[..., Serving], model: str) -> None:
    started = serving(model, "--device", "cpu", "--api-key-env", "NO_SUCH_KEY")
    assert started.ended() == 1
    assert "NO_SUCH_KEY, which is not set" in started.said


def test_a_bind_beyond_this_machine_without_a_key_is_warned_of(serving: Callable[..., Serving]) -> None:
    open_wide = serving("Qwen/Qwen3-Embedding-0.6B", "--dry-run", "--host", "0.0.0.0")  # noqa: S104 nothing listens
    locked = serving("Qwen/Qwen3-Embedding-0.6B", "--dry-run", "--host", "0.0.0.0", "--api-key-env", "K")  # noqa: S104
    assert open_wide.ended() == locked.ended() == 0
    assert "WARNING: --host 0.0.0.0" in open_wide.said
    assert "WARNING" not in locked.said
    assert '--api-key "$K"' in locked.printed


# --- a server that runs -----------------------------------------------------------------------------------------


def test_a_ready_server_is_announced_with_the_lines_that_connect(serving: Callable[..., Serving], model: str) -> None:
    port = str(free_port())
    started = serving(model, "--device", "cpu", "--port", port)
    started.until_ready()
    assert re.search(rf"qwen-embed: ready after \d+ s at http://127\.0\.0\.1:{port}", started.said)
    names: dict[str, object] = {}
    exec(compile(started.printed, "printed", "exec"), names)  # noqa: S102 our own lines
    with names["embedder"] as embedder:  # type: ignore[attr-defined]
        assert embedder.embed_documents(["a"]).shape == (1, loopback.SIZE)
    assert f"qwen-embed doctor http://127.0.0.1:{port}" in started.printed


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str
)
def test_a_signal_ends_all_that_was_started(
    number: int, status: int, serving: Callable[..., Serving], model: str
) -> None:
    started = serving(model, "--device", "cpu", "--port", str(free_port()))
    started.until_ready()
    assert len(started.engine_pids) == 3
    started.process.send_signal(number)
    assert started.ended() == status
    assert started.nothing_is_left()
    assert "Traceback" not in started.said


def test_all_ends_even_if_this_process_is_killed(serving: Callable[..., Serving], model: str) -> None:
    started = serving(model, "--device", "cpu", "--port", str(free_port()))
    started.until_ready()
    started.process.kill()
    started.process.wait()
    assert started.nothing_is_left()


def test_ctrl_c_while_it_starts_ends_it_too(serving: Callable[..., Serving], model: str) -> None:
    started = serving(model, "--device", "cpu", "--port", str(free_port()), FAKE_STARTS_IN="600")
    deadline = time.monotonic() + 30
    while not (started.pids_file.exists() and started.pids_file.read_text().endswith("\n")):
        assert time.monotonic() < deadline, started.said
        time.sleep(0.1)
    started.process.send_signal(signal.SIGINT)
    assert started.ended() == 130
    assert started.nothing_is_left()
    assert started.printed == ""


def test_an_early_death_is_reported_with_its_cause(serving: Callable[..., Serving], model: str) -> None:
    started = serving(model, "--device", "cpu", "--port", str(free_port()), "--", "--crash")
    assert started.ended() == 1
    assert started.said.splitlines()[-1] == (
        "qwen-embed: the server ended with status 3: ValueError: Loaded weights leave no memory for the KV cache."
    )
    assert started.nothing_is_left()


def test_a_log_file_takes_the_engines_lines_and_a_failure_shows_the_last(
    serving: Callable[..., Serving], model: str
) -> None:
    log = Path(model).parent / "engine.log"
    port = str(free_port())
    started = serving(model, "--device", "cpu", "--port", port, "--log", str(log), "--", "--crash")
    assert started.ended() == 1
    assert "server_args=" in log.read_text(encoding="utf-8")
    assert "Received sigquit" in started.said


def test_a_server_that_is_never_ready_is_given_up(serving: Callable[..., Serving], model: str) -> None:
    port = str(free_port())
    started = serving(model, "--device", "cpu", "--port", port, "--timeout", "2", FAKE_STARTS_IN="600")
    assert started.ended() == 1
    assert "was not ready after 2 s" in started.said
    assert started.nothing_is_left()


def test_a_key_shows_nowhere(serving: Callable[..., Serving], model: str) -> None:
    port = str(free_port())
    started = serving(model, "--device", "cpu", "--port", port, "--api-key-env", "KEY_OF_MINE", KEY_OF_MINE=KEY)
    started.until_ready()
    started.process.send_signal(signal.SIGINT)
    started.ended()
    assert "server_args=" in started.said  # which holds the key, as SGLang's own line does
    assert "***" in started.said
    assert KEY not in started.said + started.printed
    assert 'api_key=os.environ["KEY_OF_MINE"]' in started.printed
