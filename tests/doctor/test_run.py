"""The whole examination, over several checks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

import loopback
from examinations import bad, changing_rows
from qwen_embed_integrations.doctor.checks import end_token, load

if TYPE_CHECKING:
    from examinations import Examined, Start


@pytest.mark.parametrize("kind", ["sglang", "vllm"])
def test_a_right_server_with_untrained_weights_raises_no_alarm(kind: str, start: Start, examined: Examined) -> None:
    findings = examined(start(kind=kind))
    assert bad(findings) == set()
    assert findings["eos"].severity == "ok"
    assert findings["pooling"].details["pooling"] == "last"
    assert findings["batches"].severity == "ok"
    assert findings["ranking"].severity == "note"


def test_the_servers_own_key_shows_nowhere(start: Start, examined: Examined) -> None:
    assert "sk-secret" not in repr(examined(start()))


def test_too_few_vectors_are_a_reply_that_cannot_be_read(start: Start, examined: Examined) -> None:
    findings = examined(start(changing_rows(lambda rows, _: rows[:1])))
    assert findings["bad-reply"].severity == "wrong"


def without_the_last(rows: list[dict[str, Any]], _: Any) -> None:
    if isinstance(rows[-1]["embedding"], list):
        rows[-1]["embedding"] = [None] * len(rows[-1]["embedding"])


def test_vectors_that_are_not_finite_are_blamed_on_nothing_else(start: Start, examined: Examined) -> None:
    assert bad(examined(start(changing_rows(without_the_last)))) == {"nan"}


def test_a_server_that_dies_midway_ends_the_examination(start: Start, examined: Examined) -> None:
    servers: list[loopback.Server] = []

    def dies(_: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        gone = len(servers[0].posted("/embeddings")) > 3
        return (200, loopback.Cut(), {}) if gone else answer

    servers.append(start(dies))
    findings = examined(servers[0])
    assert findings["died"].severity == "wrong"
    assert list(findings)[-1] == "died"


def test_replies_that_break_off_are_not_called_unreachable(start: Start, examined: Examined) -> None:
    servers: list[loopback.Server] = []

    def breaks_off(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        hit = request.path.endswith("/embeddings") and len(servers[0].posted("/embeddings")) > 1
        return (200, loopback.Cut(), {}) if hit else answer

    servers.append(start(breaks_off))
    findings = examined(servers[0])
    assert findings["no-answer"].severity == "wrong"
    assert {"unreachable", "died"}.isdisjoint(findings)


def test_replies_nobody_understands_are_no_crash(start: Start, examined: Examined) -> None:
    def garbles(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        status, body, headers = answer
        return (status, [body], headers) if request.path.endswith(("/tokenize", "/models", "_info")) else answer

    findings = examined(start(garbles))
    assert "wrong" not in {finding.severity for finding in findings.values()}
    assert findings["batches"].severity == "ok"


def test_a_check_that_stumbles_is_a_warning_and_the_others_go_on(
    start: Start, examined: Examined, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check_end(_: Any) -> Any:
        yield from ()
        raise KeyError("field")

    monkeypatch.setattr(end_token, "check_end", check_end)
    findings = examined(start())
    assert findings["check-failed"].severity == "warning"
    assert "KeyError" in findings["check-failed"].found
    assert findings["pooling"].severity == "ok"


def test_a_busy_server_leaves_a_check_unfinished(start: Start, examined: Examined) -> None:
    def busy(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        wants_cut = request.path.endswith("/embeddings") and "dimensions" in request.body
        return (503, {"message": "The request queue is full."}, {"retry-after": "0"}) if wants_cut else answer

    finding = examined(start(busy))["busy"]
    assert finding.severity == "warning"
    assert finding.details == {"check": "check_dimensions_field"}


def test_the_load_is_measured_unless_it_is_left_out(
    start: Start, examined: Examined, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "check_load", partial(load.check_load, seconds=0.01))
    server = start()
    assert "load" not in examined(server, with_load=False)
    assert examined(server, with_load=True)["load"].severity == "ok"
