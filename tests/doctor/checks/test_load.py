from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from qwen_embed_integrations.doctor.checks.load import check_load
from qwen_embed_integrations.options import ServedOptions
from qwen_embed_integrations.served.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    import loopback
    from examinations import Connected, Findings

SECONDS = 0.05


@pytest.fixture
def loaded(connected: Connected) -> Callable[..., Findings]:
    """Measure a server's load, as one of a kind."""

    def measure(server: loopback.Server, kind: str = "sglang", *, timeout: float = 60.0) -> Findings:
        def connect(in_flight: int) -> Connection:
            return Connection(
                ServedOptions(base_url=server.base_url, max_concurrency=in_flight, timeout=timeout, max_retries=0)
            )

        findings = check_load(connected(server.base_url, kind), "embed", connect, seconds=SECONDS)
        return {finding.code: finding for finding in findings}

    return measure


def test_three_levels_are_measured_with_at_least_one_request_a_lane(
    loaded: Callable[..., Findings], server: loopback.Server
) -> None:
    levels = loaded(server)["load"].details["levels"]
    assert [level["in_flight"] for level in levels] == [1, 8, 32]
    assert all(level["requests"] >= level["in_flight"] for level in levels)
    assert all(level["requests_per_second"] > 0 and level["tokens_per_second"] > 0 for level in levels)
    assert all(level["p95_ms"] >= level["p50_ms"] > 0 for level in levels)


@pytest.mark.parametrize(
    ("kind", "bound"),
    [
        ("sglang", "--max-queued-requests"),
        ("vllm", "--max-num-queued-reqs"),
        ("tei", "--max-concurrent-requests"),
        ("unknown", "The server or a proxy bounds its queue."),
    ],
)
def test_refusals_under_load_name_the_bound(
    loaded: Callable[..., Findings], server: loopback.Server, kind: str, bound: str
) -> None:
    def refuse_every_second(_: loopback.Request) -> loopback.Answer | None:
        return None if len(server.requests) % 2 else (503, {"message": "The request queue is full."}, {})

    server.reply(refuse_every_second)
    finding = loaded(server, kind)["busy"]
    assert finding.severity == "warning"
    assert bound in finding.cause


def test_a_server_that_is_slow_under_load_is_a_warning_and_not_wrong(
    loaded: Callable[..., Findings], server: loopback.Server
) -> None:
    done = threading.Event()

    def hangs(request: loopback.Request) -> loopback.Answer | None:
        # A text begins with its number, and that with the requests that are in flight at its level.
        if request.path.endswith("/embeddings") and not request.body["input"][0].startswith("1"):
            done.wait()
        return None

    server.reply(hangs)
    try:
        findings = loaded(server, timeout=1.0)
    finally:
        done.set()
    assert findings["no-answer"].severity == "warning"
    assert findings["load"].details["levels"][-1]["lost"] > 0
    assert "wrong" not in {finding.severity for finding in findings.values()}
