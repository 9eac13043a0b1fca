"""Rerank servers over a real tiny Qwen3: with its own prompt, without, and with others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from qwen_embed_integrations.doctor.data import samples
from qwen_embed_integrations.profiles import RerankProfile, profile_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    import loopback
    from qwen_embed_integrations.doctor.findings import Finding

    Start: TypeAlias = Callable[..., loopback.Server]
    Examined: TypeAlias = Callable[..., dict[str, Finding]]
    Prompt: TypeAlias = Callable[[str, str, str | None], str]

ENGINES = ["sglang", "vllm"]
_THINK = "<think>\n\n</think>\n\n"


def own(query: str, document: str, instruction: str | None) -> str:
    profile = profile_for("Qwen/Qwen3-Reranker-0.6B")
    assert isinstance(profile, RerankProfile)
    return profile.lead(query, instruction) + document + profile.tail


def bare(query: str, document: str, _: str | None) -> str:
    return query + document


def shipped_with_sglang(query: str, document: str, instruction: str | None) -> str:
    default = "Given a web search query, retrieve relevant passages that answer the query."
    return own(query, document, instruction or default).removesuffix(_THINK)


def one_newline_short(query: str, document: str, instruction: str | None) -> str:
    return own(query, document, instruction)[:-1]


def without_instruction(query: str, document: str, _: str | None) -> str:
    return own(query, document, None)


def of_someone(query: str, document: str, _: str | None) -> str:
    return f"Is this relevant to {query}? {document} Answer:"


def bad(findings: dict[str, Finding]) -> set[str]:
    return {code for code, finding in findings.items() if finding.severity in {"wrong", "warning"}}


@pytest.mark.parametrize("kind", ENGINES)
def test_the_models_own_prompt_raises_no_alarm(kind: str, start: Start, examined: Examined) -> None:
    findings = examined(start(kind=kind, task="rerank"))
    assert bad(findings) == set()
    assert findings["template"].severity == "ok"
    assert findings["instruction"].severity == "ok"


def test_a_missing_template_on_vllm_is_found_with_any_weights(start: Start, examined: Examined) -> None:
    findings = examined(start(kind="vllm", task="rerank", prompt=bare))
    assert bad(findings) == {"template"}
    assert findings["template"].severity == "wrong"
    assert "--chat-template" in findings["template"].mend


def test_a_missing_template_on_sglang_is_not_mended_by_its_own_advice(start: Start, examined: Examined) -> None:
    finding = examined(start(task="rerank", prompt=None), model="Qwen/Qwen3-Reranker-0.6B")["template"]
    assert finding.severity == "wrong"
    assert "false lead" in finding.found
    assert "--chat-template" in finding.mend
    assert "--is-embedding" not in finding.mend


def test_an_embedding_model_started_as_a_generator_is_told_by_its_tokenizer(
    start: Start, examined: Examined, tiny_model: tuple[Any, Any]
) -> None:
    end = tiny_model[1].convert_tokens_to_ids("<|endoftext|>")
    finding = examined(start(task="rerank", prompt=None, appends=end))["not-embedding"]
    assert finding.severity == "wrong"
    assert "--is-embedding" in finding.mend


@pytest.mark.parametrize("kind", ENGINES)
def test_the_template_that_ships_with_sglang_is_named(kind: str, start: Start, examined: Examined) -> None:
    finding = examined(start(kind=kind, task="rerank", prompt=shipped_with_sglang))["template"]
    assert finding.severity == "warning"
    assert "ships with SGLang" in finding.found


def test_a_newline_too_few_is_a_note(start: Start, examined: Examined) -> None:
    finding = examined(start(kind="vllm", task="rerank", prompt=one_newline_short))["template"]
    assert finding.severity == "note"
    assert "newline" in finding.found


def test_a_prompt_of_another_wording_is_a_warning(start: Start, examined: Examined) -> None:
    finding = examined(start(task="rerank", prompt=of_someone))["template"]
    assert finding.severity == "warning"
    assert "none of the known prompts" in finding.found


@pytest.mark.parametrize("kind", ENGINES)
def test_an_instruction_that_is_dropped_is_found(kind: str, start: Start, examined: Examined) -> None:
    findings = examined(start(kind=kind, task="rerank", prompt=without_instruction))
    assert bad(findings) == {"instruction"}


def test_a_tokenizer_that_appends_an_end_token_is_found(
    start: Start, examined: Examined, tiny_model: tuple[Any, Any]
) -> None:
    end = tiny_model[1].convert_tokens_to_ids("<|endoftext|>")
    finding = examined(start(task="rerank", appends=end))["template"]
    assert finding.severity == "wrong"
    assert "end token" in finding.found


def test_scores_that_are_upside_down_are_found(start: Start, examined: Examined) -> None:
    def breaks(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        if request.method == "GET" or not request.path.endswith("/rerank"):
            return answer
        query, documents = request.body["query"], request.body["documents"]
        answers = dict(zip(samples.QUESTIONS, samples.ANSWERS, strict=True))
        scores = [0.1 if answers.get(query) == document else 0.9 - at / 100 for at, document in enumerate(documents)]
        return 200, {"results": [{"index": at, "relevance_score": score} for at, score in enumerate(scores)]}, {}

    finding = examined(start(breaks, kind="vllm", task="rerank"))["ranking"]
    assert finding.severity == "wrong"
    assert "classifier_from_token" in finding.cause


def test_where_no_prompt_is_scored_tokens_are_counted(start: Start, examined: Examined) -> None:
    def breaks(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        return (404, {"detail": "Not Found"}, {}) if request.path.endswith("/classify") else answer

    assert examined(start(breaks, kind="vllm", task="rerank"))["template"].severity == "ok"
    finding = examined(start(breaks, kind="vllm", task="rerank", prompt=bare))["template"]
    assert finding.severity == "wrong"
    assert "tokens are read" in finding.found


def test_scores_that_depend_on_the_order_of_documents_are_found(start: Start, examined: Examined) -> None:
    def breaks(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        status, body, headers = answer
        if request.path.endswith("/rerank"):
            for at, row in enumerate(body):
                row["index"] = at  # positions of the answer in place of the question's
        return status, body, headers

    assert bad(examined(start(breaks, task="rerank"))) & {"order", "batches"}


def test_scores_that_are_null_are_found(start: Start, examined: Examined) -> None:
    def breaks(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        status, body, headers = answer
        if request.path.endswith("/rerank"):
            for row in body:
                row["score"] = None
        return status, body, headers

    assert examined(start(breaks, task="rerank"))["nan"].severity == "wrong"


def test_a_known_reranker_with_other_weights_misses_the_published_scores(start: Start, examined: Examined) -> None:
    finding = examined(start(task="rerank"), model="Qwen/Qwen3-Reranker-0.6B")["golden"]
    assert finding.severity == "wrong"
    assert "0.999" in finding.found


def test_the_reference_finds_the_same_scores(start: Start, examined: Examined, tiny_folder: Any) -> None:
    finding = examined(start(task="rerank"), compare_with=str(tiny_folder))["reference"]
    assert finding.severity == "ok"


def test_a_reranker_that_was_started_to_embed_is_found(start: Start, examined: Examined) -> None:
    finding = examined(start(), model="Qwen/Qwen3-Reranker-0.6B")["reranker-as-embedder"]
    assert finding.severity == "wrong"
    assert "--chat-template" in finding.mend


def test_scores_that_are_not_finite_do_not_pass_as_those_of_the_prompt(start: Start, examined: Examined) -> None:
    def spoil(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        if request.path.endswith("/rerank") and answer[0] == 200:
            answer[1][0]["score"] = None
        return answer

    findings = examined(start(task="rerank", breaks=spoil))
    assert findings["nan"].severity == "wrong"
    assert findings["template"].severity == "note"
    assert "instruction" not in findings


def test_an_embedding_model_asked_to_rerank_is_told_by_how_it_was_started(start: Start, examined: Examined) -> None:
    def ranks(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        if not request.path.endswith("/rerank"):
            return answer
        return 200, [{"index": at, "score": at / 10} for at in range(len(request.body["documents"]))], {}

    finding = examined(start(breaks=ranks), task="rerank")["embedder-as-reranker"]
    assert finding.severity == "wrong"
    assert "--task" in finding.mend


def test_a_reranker_asked_to_embed_is_not_told_to_start_as_an_embedder(start: Start, examined: Examined) -> None:
    findings = examined(start(task="rerank"), task="embed", model="Qwen/Qwen3-Reranker-0.6B")
    assert findings["wrong-task"].severity == "wrong"
    assert "--is-embedding" not in findings["wrong-task"].mend
