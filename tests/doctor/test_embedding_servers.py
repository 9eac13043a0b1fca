"""Embedding servers over a real tiny Qwen3: right, started wrongly, and behind a proxy that breaks replies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeAlias

    import loopback
    from qwen_embed_integrations.doctor.findings import Finding

    Start: TypeAlias = Callable[..., loopback.Server]
    Examined: TypeAlias = Callable[..., dict[str, Finding]]


def bad(findings: dict[str, Finding]) -> set[str]:
    return {code for code, finding in findings.items() if finding.severity in {"wrong", "warning"}}


@pytest.mark.parametrize("kind", ["sglang", "vllm"])
def test_a_right_server_with_untrained_weights_raises_no_alarm(kind: str, start: Start, examined: Examined) -> None:
    findings = examined(start(kind=kind))
    assert bad(findings) == set()
    assert findings["eos"].severity == "ok"
    assert findings["pooling"].details["pooling"] == "last"
    assert findings["batches"].severity == "ok"
    assert findings["ranking"].severity == "note"


def test_a_tokenizer_without_the_end_token_is_found(start: Start, examined: Examined) -> None:
    findings = examined(start(appends=None))
    assert bad(findings) == {"eos"}
    assert findings["eos"].severity == "warning"
    assert "tokenizer.json" in findings["eos"].mend


def test_a_missing_end_token_is_wrong_where_the_model_is_known(start: Start, examined: Examined) -> None:
    assert examined(start(appends=None), model="Qwen/Qwen3-Embedding-0.6B")["eos"].severity == "wrong"


def test_another_end_token_is_found(start: Start, examined: Examined, tiny_model: tuple[Any, Any]) -> None:
    other = tiny_model[1].convert_tokens_to_ids("<|im_end|>")
    finding = examined(start(appends=other))["eos"]
    assert finding.severity == "warning"
    assert "add_eos_token" in finding.cause


@pytest.mark.parametrize("kind", ["sglang", "vllm"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_wrong_pooling_is_found_by_trial(pooling: str, kind: str, start: Start, examined: Examined) -> None:
    finding = examined(start(pooling=pooling, kind=kind))["pooling"]
    assert finding.severity == "wrong"
    assert finding.details == {"pooling": pooling, "expected": "last"}


def test_the_pooling_trial_sends_only_the_servers_own_token_ids(
    start: Start, examined: Examined, tiny_model: tuple[Any, Any]
) -> None:
    server = start()
    examined(server)
    lists = [
        each for request in server.posted("/embeddings") for each in request.body["input"] if isinstance(each, list)
    ]
    assert lists
    assert all(each and max(each) < len(tiny_model[1]) for each in lists)


def test_refused_dimensions_are_a_warning_with_the_flag_that_allows_them(start: Start, examined: Examined) -> None:
    finding = examined(start(matryoshka=False))["matryoshka"]
    assert finding.severity == "warning"
    assert """--json-model-override-args '{"is_matryoshka": true}'""" in finding.mend


def test_a_known_model_with_other_weights_misses_the_published_numbers(start: Start, examined: Examined) -> None:
    findings = examined(start(), model="Qwen/Qwen3-Embedding-0.6B")
    assert findings["golden"].severity == "wrong"
    assert "0.765" in findings["golden"].found
    assert findings["dimensions"].severity == "wrong"


def test_the_servers_own_key_shows_nowhere(start: Start, examined: Examined) -> None:
    assert "sk-secret" not in repr(examined(start()))


def test_less_memory_than_context_is_found(start: Start, examined: Examined) -> None:
    finding = examined(start(info={"max_total_num_tokens": 300}))["long-text"]
    assert finding.severity == "warning"
    assert "300" in finding.found


def test_the_reference_finds_the_same_vectors(start: Start, examined: Examined, embedding_folder: Path) -> None:
    findings = examined(start(), compare_with=str(embedding_folder))
    assert findings["reference"].severity == "ok"
    assert findings["reference"].details["cosine"] > 0.999


def test_the_reference_finds_other_vectors(start: Start, examined: Examined, embedding_folder: Path) -> None:
    assert examined(start(pooling="mean"), compare_with=str(embedding_folder))["reference"].severity == "wrong"


def test_a_reference_that_is_none_is_a_warning(start: Start, examined: Examined, tmp_path: Path) -> None:
    assert examined(start(), compare_with=str(tmp_path))["reference"].severity == "warning"


# --- a proxy that breaks replies ---------------------------------------------------------------------------------


def through(change: Callable[[list[dict[str, Any]], dict[str, Any]], Any]) -> Callable[..., loopback.Answer]:
    """Break the rows of embedding replies; what is returned replaces them, None keeps them as changed."""

    def breaks(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        status, body, headers = answer
        if status == 200 and request.path.endswith("/embeddings"):
            changed = change(body["data"], request.body)
            return status, body | {"data": body["data"] if changed is None else changed}, headers
        return answer

    return breaks


def numbers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if isinstance(row["embedding"], list)]


def scale(rows: list[dict[str, Any]], _: Any) -> None:
    for row in numbers(rows):
        row["embedding"] = [3 * value for value in row["embedding"]]


def test_vectors_that_are_not_normalised_are_found(start: Start, examined: Examined) -> None:
    finding = examined(start(through(scale)))["unit-length"]
    assert finding.severity == "warning"
    assert "3.000" in finding.found


def permute(rows: list[dict[str, Any]], _: Any) -> list[dict[str, Any]]:
    return [{"embedding": row["embedding"]} for row in [*rows[1:], *rows[:1]]]


def test_rows_that_were_permuted_are_found(start: Start, examined: Examined) -> None:
    finding = examined(start(through(permute)))["order"]
    assert finding.severity == "wrong"
    assert "gets the vector of text" in finding.found


def pad(rows: list[dict[str, Any]], _: Any) -> None:
    if len(rows) > 1:
        rows[0]["embedding"] = rows[1]["embedding"][:32] + rows[0]["embedding"][32:]


def test_a_vector_that_depends_on_its_batch_is_found(start: Start, examined: Examined) -> None:
    assert examined(start(through(pad)))["batches"].severity == "wrong"


def same(rows: list[dict[str, Any]], _: Any) -> None:
    for row in numbers(rows):
        row["embedding"] = [0.125] * 64


def test_a_server_that_ignores_the_text_is_found(start: Start, examined: Examined) -> None:
    assert examined(start(through(same)))["constant"].severity == "wrong"


def not_a_number(rows: list[dict[str, Any]], _: Any) -> None:
    for row in rows:
        row["embedding"] = [None] * 64


def test_vectors_that_are_null_are_found(start: Start, examined: Examined) -> None:
    assert examined(start(through(not_a_number)))["nan"].severity == "wrong"


def code_overflows(rows: list[dict[str, Any]], body: dict[str, Any]) -> None:
    if str(body["input"]).startswith("import"):
        rows[0]["embedding"] = [None] * 64


def test_nan_on_code_is_found(start: Start, examined: Examined) -> None:
    finding = examined(start(through(code_overflows)))["nan"]
    assert finding.severity == "wrong"
    assert "bfloat16" in finding.mend


def cut_base64(rows: list[dict[str, Any]], _: Any) -> None:
    for row in rows:
        if isinstance(row["embedding"], str):
            row["embedding"] = row["embedding"][:-6]


def test_base64_that_was_cut_is_found(start: Start, examined: Examined) -> None:
    assert examined(start(through(cut_base64)))["base64"].severity == "wrong"


def test_too_few_vectors_are_found(start: Start, examined: Examined) -> None:
    findings = examined(start(through(lambda rows, _: rows[:1])))
    assert findings["bad-reply"].severity == "wrong"


def test_vectors_cut_without_normalising_are_found(start: Start, examined: Examined) -> None:
    def breaks(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        status, body, headers = answer
        if status == 200 and request.path.endswith("/embeddings") and "dimensions" in request.body:
            for row in body["data"]:
                row["embedding"] = [value / 2 for value in row["embedding"]]
        return status, body, headers

    finding = examined(start(breaks))["matryoshka"]
    assert finding.severity == "warning"
    assert "length 0.500" in finding.found


def test_ignored_dimensions_are_found(start: Start, examined: Examined) -> None:
    def breaks(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        status, body, headers = answer
        if status == 200 and request.path.endswith("/embeddings") and "dimensions" in request.body:
            for row in body["data"]:
                row["embedding"] = row["embedding"] * 2
        return status, body, headers

    finding = examined(start(breaks))["matryoshka"]
    assert finding.severity == "warning"
    assert "ignored" in finding.found


def test_vectors_that_are_not_finite_are_blamed_on_nothing_else(start: Start, examined: Examined) -> None:
    def spoil(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        if request.path.endswith("/embeddings") and answer[0] == 200:
            row = answer[1]["data"][-1]
            if isinstance(row["embedding"], list):
                row["embedding"] = [None] * len(row["embedding"])
        return answer

    assert bad(examined(start(breaks=spoil))) == {"nan"}


def test_an_alias_on_vllm_is_known_by_the_model_behind_it(start: Start, examined: Examined) -> None:
    def name(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        if request.path.endswith("/models"):
            answer[1]["data"][0] |= {"id": "mine", "root": "Qwen/Qwen3-Embedding-0.6B"}
        return answer

    findings = examined(start(kind="vllm", matryoshka=False, breaks=name))
    assert findings["dimensions"].severity == "wrong"
    assert "vllm serve Qwen/Qwen3-Embedding-0.6B" in findings["matryoshka"].mend
