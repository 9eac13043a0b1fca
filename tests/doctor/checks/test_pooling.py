from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import loopback
    from examinations import Examined, Start


@pytest.mark.parametrize("kind", ["sglang", "vllm"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_wrong_pooling_is_found_by_trial(pooling: str, kind: str, start: Start, examined: Examined) -> None:
    finding = examined(start(pooling=pooling, kind=kind))["pooling"]
    assert finding.severity == "wrong"
    assert finding.details == {"pooling": pooling, "expected": "last"}


def test_on_vllm_it_is_mended_by_a_flag(start: Start, examined: Examined) -> None:
    mend = examined(start(pooling="mean", kind="vllm"))["pooling"].mend
    assert """--pooler-config '{"pooling_type": "LAST"}'""" in mend


def test_the_trial_sends_only_the_servers_own_token_ids(
    start: Start, examined: Examined, tiny_model: tuple[Any, Any]
) -> None:
    server = start()
    examined(server)
    lists = [
        tokens
        for request in server.posted("/embeddings")
        for tokens in request.body["input"]
        if isinstance(tokens, list)
    ]
    assert lists
    assert all(tokens and max(tokens) < len(tiny_model[1]) for tokens in lists)


def test_where_no_token_ids_are_read_the_servers_word_is_taken(start: Start, examined: Examined) -> None:
    def reads_no_ids(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        if request.path == "/model_info":
            return 200, answer[1] | {"embedding": {"pooling": "mean"}}, {}
        ids = request.path.endswith("/embeddings") and isinstance(request.body["input"][0], list)
        return (422, {"message": "invalid input type"}, {}) if ids else answer

    finding = examined(start(reads_no_ids))["pooling"]
    assert "the mean of all tokens (as the server says)" in finding.found
    assert finding.severity == "wrong"


def test_where_neither_tells_it_is_a_note(start: Start, examined: Examined) -> None:
    def tells_nothing(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        return (404, {}, {}) if request.path.endswith("/tokenize") else answer

    assert examined(start(tells_nothing))["pooling"].severity == "note"
