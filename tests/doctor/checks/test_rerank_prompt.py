from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from examinations import THINK, bad, bare_prompt, changing_scores, official_prompt

if TYPE_CHECKING:
    import loopback
    from examinations import Examined, Start

ENGINES = ["sglang", "vllm"]


def shipped_with_sglang(query: str, document: str, instruction: str | None) -> str:
    default = "Given a web search query, retrieve relevant passages that answer the query."
    return official_prompt(query, document, instruction or default).removesuffix(THINK)


def one_newline_short(query: str, document: str, instruction: str | None) -> str:
    return official_prompt(query, document, instruction)[:-1]


def without_instruction(query: str, document: str, _: str | None) -> str:
    return official_prompt(query, document, None)


def of_someone(query: str, document: str, _: str | None) -> str:
    return f"Is this relevant to {query}? {document} Answer:"


@pytest.mark.parametrize("kind", ENGINES)
def test_the_models_own_prompt_is_right(kind: str, start: Start, examined: Examined) -> None:
    findings = examined(start(kind=kind, task="rerank"))
    assert bad(findings) == set()
    assert findings["template"].severity == "ok"
    assert findings["instruction"].severity == "ok"


def test_a_missing_template_on_vllm_is_wrong_with_any_weights(start: Start, examined: Examined) -> None:
    findings = examined(start(kind="vllm", task="rerank", prompt=bare_prompt))
    assert bad(findings) == {"template"}
    assert findings["template"].severity == "wrong"
    assert "--chat-template" in findings["template"].mend


@pytest.mark.parametrize("kind", ENGINES)
def test_the_template_that_ships_with_sglang_is_named(kind: str, start: Start, examined: Examined) -> None:
    finding = examined(start(kind=kind, task="rerank", prompt=shipped_with_sglang))["template"]
    assert finding.severity == "warning"
    assert "ships with SGLang" in finding.found


@pytest.mark.parametrize(("kind", "cause"), [("vllm", "Jinja drops the last newline"), ("sglang", "of that wording")])
def test_a_newline_too_few_is_a_note(kind: str, cause: str, start: Start, examined: Examined) -> None:
    finding = examined(start(kind=kind, task="rerank", prompt=one_newline_short))["template"]
    assert finding.severity == "note"
    assert "newline" in finding.found
    assert cause in finding.cause


def test_a_prompt_of_another_wording_is_a_warning(start: Start, examined: Examined) -> None:
    finding = examined(start(task="rerank", prompt=of_someone))["template"]
    assert finding.severity == "warning"
    assert "none of the known prompts" in finding.found


@pytest.mark.parametrize(("kind", "field"), [("sglang", "{{ instruct }}"), ("vllm", "{{ instruction }}")])
def test_an_instruction_that_is_dropped_is_a_warning(kind: str, field: str, start: Start, examined: Examined) -> None:
    findings = examined(start(kind=kind, task="rerank", prompt=without_instruction))
    assert bad(findings) == {"instruction"}
    assert field in findings["instruction"].cause


def test_a_tokenizer_that_appends_an_end_token_is_wrong(
    start: Start, examined: Examined, tiny_model: tuple[Any, Any]
) -> None:
    end = tiny_model[1].convert_tokens_to_ids("<|endoftext|>")
    finding = examined(start(task="rerank", appends=end))["template"]
    assert finding.severity == "wrong"
    assert "end token" in finding.found


def test_where_no_prompt_is_scored_tokens_are_counted(start: Start, examined: Examined) -> None:
    def lacks_the_route(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        return (404, {"detail": "Not Found"}, {}) if request.path.endswith("/classify") else answer

    assert examined(start(lacks_the_route, kind="vllm", task="rerank"))["template"].severity == "ok"
    finding = examined(start(lacks_the_route, kind="vllm", task="rerank", prompt=bare_prompt))["template"]
    assert finding.severity == "wrong"
    assert "tokens are read" in finding.found


def first_null(rows: list[dict[str, Any]]) -> None:
    rows[0]["score"] = None


def test_scores_that_are_not_finite_do_not_pass_as_those_of_the_prompt(start: Start, examined: Examined) -> None:
    findings = examined(start(changing_scores(first_null), task="rerank"))
    assert findings["nan"].severity == "wrong"
    assert findings["template"].severity == "note"
    assert "instruction" not in findings


def test_a_cross_encoder_needs_no_prompt(start: Start, examined: Examined) -> None:
    findings = examined(start(task="rerank"), model="mixedbread-ai/mxbai-rerank-base-v1")
    assert findings["template"].severity == "ok"
    assert "needs no prompt" in findings["template"].found
