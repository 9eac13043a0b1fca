from __future__ import annotations

import io
import socket
import sys
from typing import Any

import pytest

from qwen_embed_integrations.errors import ServerConnectionError
from qwen_embed_integrations.serving.command import Command
from qwen_embed_integrations.serving.launch import ServiceEndedError, run
from qwen_embed_integrations.serving.plan import Plan, Process
from qwen_embed_integrations.serving.processes import Output


@pytest.fixture
def two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with two addresses, as `localhost` is on most machines."""

    def resolve(_: str, port: int, **_settings: Any) -> list[Any]:
        found = [(socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")]
        return [(family, socket.SOCK_STREAM, 0, "", (address, port)) for family, address in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.usefixtures("two_addresses")
def test_a_port_that_is_taken_on_any_address_of_the_host_is_taken() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        plan = Plan((Process("", Command(("true",)), "localhost", port),), ())
        with pytest.raises(ServerConnectionError, match=f"`--port` {port} cannot be used on localhost"):
            run(plan, Output(io.StringIO()), timeout=5, ready=lambda _: None)


def test_the_cause_of_a_death_is_not_the_line_that_points_to_it() -> None:
    dies = """
print("(EngineCore pid=7) ValueError: no room for one request")
print("RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}")
raise SystemExit(1)
"""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    plan = Plan((Process("", Command((sys.executable, "-c", dies)), "127.0.0.1", port),), ())
    with pytest.raises(ServiceEndedError, match="ended with status 1: ValueError: no room for one request"):
        run(plan, Output(io.StringIO()), timeout=30, ready=lambda _: None)
