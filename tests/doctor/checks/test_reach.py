from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import loopback
from qwen_embed_integrations.doctor.checks.reach import unanswered
from qwen_embed_integrations.errors import (
    BadReplyError,
    EndpointNotFoundError,
    RequestRefusedError,
    ServerAuthenticationError,
    ServerBusyError,
    ServerConnectionError,
    ServerError,
)

if TYPE_CHECKING:
    from examinations import Examined, Start


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ServerAuthenticationError, "key"),
        (ServerBusyError, "busy"),
        (ServerConnectionError, "unreachable"),
        (EndpointNotFoundError, "no-route"),
        (BadReplyError, "bad-reply"),
        (RequestRefusedError, "refused"),
    ],
)
def test_every_failure_of_a_plain_request_is_wrong_and_says_what_to_do(error: type[ServerError], code: str) -> None:
    finding = unanswered(error("words"))
    assert (finding.code, finding.severity) == (code, "wrong")
    assert "words" in finding.found
    assert finding.mend


def test_a_server_that_is_not_recognised_is_said_to_be_so(examined: Examined) -> None:
    def answer(request: loopback.Request) -> loopback.Answer:
        if request.method == "POST" and request.path == "/v1/embeddings":
            given = request.body["input"]
            texts = [given] if isinstance(given, str) else given
            return 200, loopback.embeddings_reply(list(map(str, texts)), size=8), {}
        return 404, {}, {}

    server = loopback.Server(answer)
    try:
        findings = examined(server)
    finally:
        server.close()
    assert findings["server"].found.startswith("A server runs a model it does not name")
    assert findings["server-unknown"].severity == "note"


def test_a_server_says_what_it_is_and_runs(start: Start, examined: Examined) -> None:
    finding = examined(start(kind="vllm"))["server"]
    assert finding.found == "vLLM runs tiny (version 0.32.0, up to 512 tokens)."
    assert finding.details == {"kind": "vllm", "version": "0.32.0", "model": "tiny", "profile": None}


def test_a_model_that_is_not_known_is_a_note_and_a_misspelt_one_a_warning(start: Start, examined: Examined) -> None:
    server = start()
    assert examined(server)["model-unknown"].severity == "note"
    misspelt = examined(server, model="Qwen/Qwen3-Embeding-0.6B")["model-unknown"]
    assert misspelt.severity == "warning"
    assert "Did you mean Qwen/Qwen3-Embedding-0.6B" in misspelt.found


def names_itself(name: str, **more: str) -> object:
    def breaks(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        if request.path.endswith("/models"):
            answer[1]["data"][0] |= {"id": name, **more}
        return answer

    return breaks


def test_an_alias_on_vllm_is_known_by_the_model_behind_it(start: Start, examined: Examined) -> None:
    breaks = names_itself("mine", root="Qwen/Qwen3-Embedding-0.6B")
    findings = examined(start(kind="vllm", matryoshka=False, breaks=breaks))
    assert findings["server"].details["profile"] == "Qwen/Qwen3-Embedding-0.6B"
    assert "vllm serve Qwen/Qwen3-Embedding-0.6B" in findings["matryoshka"].mend


def test_another_model_than_the_caller_names_is_wrong(start: Start, examined: Examined) -> None:
    server = start(kind="vllm", breaks=names_itself("Qwen/Qwen3-Embedding-4B"))
    finding = examined(server, model="Qwen/Qwen3-Embedding-0.6B")["other-model"]
    assert finding.severity == "wrong"
    assert "the server runs Qwen/Qwen3-Embedding-4B" in finding.found


def test_a_dialect_that_the_server_contradicts_is_a_warning(start: Start, examined: Examined) -> None:
    server = start(kind="vllm")
    finding = examined(server, dialect="sglang")["other-server"]
    assert finding.severity == "warning"
    assert "`--dialect` says SGLang, the server answers as vLLM does." in finding.found
    assert "other-server" not in examined(server, dialect="vllm")


def guarded(*paths: str) -> object:
    def breaks(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        return (401, {"error": "Unauthorized"}, {}) if request.path in paths else answer

    return breaks


def test_a_list_of_models_that_wants_a_key_hides_no_server(start: Start, examined: Examined) -> None:
    findings = examined(start(guarded("/v1/models")))
    assert findings["key"].severity == "warning"
    assert findings["server"].details["kind"] == "sglang"
    assert findings["batches"].severity == "ok"


def test_a_key_that_is_wanted_for_vectors_too_is_wrong(start: Start, examined: Examined) -> None:
    findings = examined(start(guarded("/v1/models", "/v1/embeddings")))
    assert findings["key"].severity == "wrong"
    assert "batches" not in findings
