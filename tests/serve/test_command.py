from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

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
