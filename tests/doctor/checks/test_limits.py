from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import loopback
from examinations import bad
from qwen_embed_integrations.doctor.checks.limits import check_key, check_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from examinations import Connected, Examined, Start


@pytest.mark.parametrize(("kind", "flag"), [("sglang", "--json-model-override-args"), ("vllm", "--hf-overrides")])
def test_refused_dimensions_are_a_warning_with_the_flag_that_allows_them(
    kind: str, flag: str, start: Start, examined: Examined
) -> None:
    finding = examined(start(kind=kind, matryoshka=False))["matryoshka"]
    assert finding.severity == "warning"
    assert f"{flag} says it" in finding.cause
    assert f"""{flag} '{{"is_matryoshka": true}}'""" in finding.mend


def with_dimensions(change: Callable[[list[float]], list[float]]) -> Callable[..., loopback.Answer]:
    """Change the vectors of requests with `dimensions`."""

    def breaks(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        status, body, headers = answer
        if status == 200 and request.path.endswith("/embeddings") and "dimensions" in request.body:
            for row in body["data"]:
                row["embedding"] = change(row["embedding"])
        return status, body, headers

    return breaks


def test_vectors_cut_without_normalising_are_a_warning(start: Start, examined: Examined) -> None:
    finding = examined(start(with_dimensions(lambda vector: [value / 2 for value in vector])))["matryoshka"]
    assert finding.severity == "warning"
    assert "length 0.500" in finding.found


def test_ignored_dimensions_are_a_warning(start: Start, examined: Examined) -> None:
    finding = examined(start(with_dimensions(lambda vector: vector * 2)))["matryoshka"]
    assert finding.severity == "warning"
    assert "ignored" in finding.found
    assert finding.cause == "SGLang does so up to 0.5.4."


def test_dimensions_that_are_others_than_the_first_are_wrong(start: Start, examined: Examined) -> None:
    assert examined(start(with_dimensions(lambda vector: vector[::-1])))["matryoshka"].severity == "wrong"


def test_less_memory_than_context_is_a_warning(start: Start, examined: Examined) -> None:
    finding = examined(start(info={"max_total_num_tokens": 300}))["long-text"]
    assert finding.severity == "warning"
    assert "300" in finding.found
    assert "--context-length 292" in finding.mend


@pytest.fixture
def cutting(tiny_model: tuple[Any, Any]) -> Callable[..., Callable[..., loopback.Answer]]:
    """Cut long texts in silence, with or without the end token."""
    _, tokenizer = tiny_model

    def cut(tiny: Callable[..., Any], *, keeps_end: bool) -> Callable[..., loopback.Answer]:
        def breaks(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
            if not request.path.endswith("/embeddings") or answer[0] == 200 or "longer" not in str(answer[1]):
                return answer
            tokens = tokenizer(request.body["input"], add_special_tokens=False)["input_ids"]
            end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
            kept = [*tokens[:511], end] if keeps_end else tokens[:512]
            return tiny(kept)

        return breaks

    return cut


@pytest.mark.parametrize("keeps_end", [True, False])
def test_a_cut_in_silence_is_judged_by_whether_the_end_token_stays(
    start: Start, examined: Examined, cutting: Any, *, keeps_end: bool
) -> None:
    servers: list[loopback.Server] = []

    def embed(tokens: list[int]) -> loopback.Answer:
        request = loopback.Request("POST", "/v1/embeddings", {}, {"model": "tiny", "input": [tokens]})
        return servers[0].answer(request)

    servers.append(start(cutting(embed, keeps_end=keeps_end)))
    finding = examined(servers[0])["long-text"]
    if keeps_end:
        assert finding.severity == "note"
        assert "keeping the end token" in finding.found
    else:
        assert finding.severity == "warning"
        assert "losing the end token" in finding.found
        assert finding.cause == "--allow-auto-truncate is on."


def test_a_refused_long_text_is_right(start: Start, examined: Examined) -> None:
    findings = examined(start())
    assert findings["long-text"].severity == "ok"
    assert findings["blank-text"].severity == "ok"
    assert bad(findings) == set()


def test_any_model_name_may_be_accepted(start: Start, connected: Connected) -> None:
    server = start()
    (finding,) = check_name(connected(server.base_url, model="tiny"), "embed")
    assert "Any model name is accepted; what answers is tiny" in finding.found


def test_a_form_without_a_model_name_is_not_tried_with_another(connected: Connected) -> None:
    server = loopback.Server(lambda _: (200, [], {}))
    try:
        assert list(check_name(connected(server.base_url, "tei"), "rerank")) == []
    finally:
        server.close()
    assert server.requests == []


@pytest.mark.parametrize(("status", "severity"), [(401, "ok"), (200, "note")])
def test_a_key_that_is_not_asked_for_is_a_note(connected: Connected, status: int, severity: str) -> None:
    server = loopback.Server(lambda _: (status, {"data": []}, {}))
    try:
        (finding,) = check_key(connected(server.base_url), has_key=True)
    finally:
        server.close()
    assert finding.severity == severity
