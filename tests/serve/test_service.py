from __future__ import annotations

from qwen_embed_integrations.serve.command_line import Command
from qwen_embed_integrations.serve.service import Process, Service

WORKER = Process("1", Command(("sglang",)), "127.0.0.1", 30001)
ROUTER = Process("router", Command(("router",)), "0.0.0.0", 30000, metrics_port=30002)  # noqa: S104 nothing listens


def test_clients_speak_to_the_process_that_is_started_last() -> None:
    assert Service((WORKER, ROUTER)).front is ROUTER


def test_every_port_of_every_process_counts() -> None:
    everywhere = ("0.0.0.0", 30000)  # noqa: S104 nothing listens
    assert Service((WORKER, ROUTER)).addresses == [("127.0.0.1", 30001), everywhere, ("127.0.0.1", 30002)]
