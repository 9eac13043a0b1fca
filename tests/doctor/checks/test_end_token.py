from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import loopback
    from examinations import Examined, Start

from examinations import bad


def test_a_tokenizer_without_the_end_token_is_a_warning(start: Start, examined: Examined) -> None:
    findings = examined(start(appends=None))
    assert bad(findings) == {"eos"}
    assert findings["eos"].severity == "warning"
    assert "tokenizer.json" in findings["eos"].mend


def test_a_missing_end_token_is_wrong_where_the_model_is_known(start: Start, examined: Examined) -> None:
    assert examined(start(appends=None), model="Qwen/Qwen3-Embedding-0.6B")["eos"].severity == "wrong"


def test_another_end_token_is_a_warning(start: Start, examined: Examined, tiny_model: tuple[Any, Any]) -> None:
    other = tiny_model[1].convert_tokens_to_ids("<|im_end|>")
    finding = examined(start(appends=other))["eos"]
    assert finding.severity == "warning"
    assert "add_eos_token" in finding.cause


def test_a_model_that_needs_none_is_right(start: Start, examined: Examined) -> None:
    finding = examined(start(appends=None), model="mixedbread-ai/mxbai-embed-large-v1")["eos"]
    assert finding.severity == "ok"
    assert "needs no token at the end" in finding.found


def test_more_tokens_charged_than_a_text_has_are_a_default_prompt(start: Start, examined: Examined) -> None:
    def charges_more(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        if request.path.endswith("/embeddings") and answer[0] == 200:
            answer[1]["usage"]["prompt_tokens"] += 7
        return answer

    finding = examined(start(charges_more))["eos"]
    assert finding.severity == "warning"
    assert "charged as 9" in finding.found
    assert finding.mend == "Remove it: prompts belong to the client."


def test_where_nothing_counts_tokens_nothing_is_said(start: Start, examined: Examined) -> None:
    def counts_nothing(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        if request.path.endswith("/tokenize"):
            return 404, {}, {}
        if request.path.endswith("/embeddings") and answer[0] == 200:
            del answer[1]["usage"]
        return answer

    assert examined(start(counts_nothing))["eos"].severity == "note"
