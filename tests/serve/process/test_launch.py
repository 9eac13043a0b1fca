from __future__ import annotations

import io
import signal
import sys
import time
from dataclasses import replace

import pytest

import loopback
from ports import free_port
from pressing import press_in_destructor
from qwen_embed_integrations import interrupts
from qwen_embed_integrations.serve.command_line import Command
from qwen_embed_integrations.serve.process.child import Output
from qwen_embed_integrations.serve.process.launch import ServiceEndedError, run
from qwen_embed_integrations.serve.service import Process, Service


def process(code: str, label: str = "") -> Process:
    return Process(label, Command((sys.executable, "-c", code)), "127.0.0.1", free_port())


def fails(*processes: Process, timeout: float = 600, lines: io.StringIO | None = None) -> ServiceEndedError:
    with pytest.raises(ServiceEndedError) as caught:
        run(Service(processes), Output(lines or io.StringIO()), timeout=timeout, ready=lambda _: None)
    return caught.value


def test_the_cause_of_a_death_is_not_the_line_that_points_to_it() -> None:
    dies = """
print("(EngineCore pid=7) ValueError: no room for one request")
print("RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}")
raise SystemExit(1)
"""
    assert "ended with status 1: ValueError: no room for one request" in str(fails(process(dies)))


def test_a_signal_that_ended_the_server_is_named() -> None:
    dies = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert "the server ended with status 137 (SIGKILL, as when memory runs out)" in str(fails(process(dies)))


@pytest.mark.skipif(sys.platform != "linux", reason="the server ends its parent")
def test_a_guard_that_was_killed_is_told_like_a_server_that_was() -> None:
    kills_its_guard = "import os, signal, time; os.kill(os.getppid(), signal.SIGKILL); time.sleep(600)"
    assert "ended with status 137 (SIGKILL" in str(fails(process(kills_its_guard)))


def test_what_is_not_ready_shows_its_own_last_lines() -> None:
    lines = io.StringIO()

    def not_ready(_: loopback.Request) -> loopback.Answer:
        while "a waits" not in lines.getvalue():
            time.sleep(0.01)
        return 503, {}, {}

    slow, other = (process(f"print('{name} waits', flush=True); import time; time.sleep(600)", name) for name in "ab")
    health = loopback.Server(not_ready)
    failure = fails(replace(slow, port=health.port), other, process("", "router"), timeout=0, lines=lines)
    health.close()
    assert str(failure).startswith("process a was not ready after 0 s")
    assert failure.tail == ("a waits",)


def server() -> Process:
    """A server that is ready at once."""
    port = free_port()
    code = f"""
import http.server
http.server.ThreadingHTTPServer(("127.0.0.1", {port}), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
    return Process("", Command((sys.executable, "-c", code)), "127.0.0.1", port, ready="/")


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_that_a_destructor_dropped_ends_the_service(
    number: int, kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interrupts, "_raise_again_soon", lambda _: None)  # only a check helps
    with pytest.raises(kind):
        run(
            Service((server(),)),
            Output(io.StringIO()),
            timeout=600,
            ready=lambda _: press_in_destructor(number),
        )


def test_a_signal_that_was_dropped_while_the_server_starts_ends_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "_raise_again_soon", lambda _: None)

    def start() -> None:
        press_in_destructor()
        run(Service((process("import time; time.sleep(600)"),)), Output(io.StringIO()), timeout=600, ready=print)

    with pytest.raises(KeyboardInterrupt), interrupts.noted(signal.SIGINT):
        start()
