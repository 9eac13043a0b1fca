from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import loopback
from examinations import bad, changing_scores
from qwen_embed_integrations.doctor.checks.scores import check_top_n
from qwen_embed_integrations.doctor.data import samples

if TYPE_CHECKING:
    from examinations import Connected, Examined, Start


def number_by_position(rows: list[dict[str, Any]]) -> None:
    for position, row in enumerate(rows):
        row["index"] = position  # of the answer in place of the question's


def test_scores_that_depend_on_the_order_of_documents_are_wrong(start: Start, examined: Examined) -> None:
    findings = examined(start(changing_scores(number_by_position), task="rerank"))
    assert bad(findings) & {"order", "batches"}


def all_null(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row["score"] = None


def test_scores_that_are_null_are_wrong(start: Start, examined: Examined) -> None:
    finding = examined(start(changing_scores(all_null), task="rerank"))["nan"]
    assert finding.severity == "wrong"
    assert finding.mend == "Serve it in bfloat16 or float32: --dtype bfloat16"


def all_equal(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row["score"] = 0.5


def test_one_score_for_all_is_wrong(start: Start, examined: Examined) -> None:
    assert examined(start(changing_scores(all_equal), task="rerank"))["constant"].severity == "wrong"


def as_log_odds(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row["score"] = 40 * (row["score"] - 0.5)


def test_scores_beyond_0_to_1_are_log_odds(start: Start, examined: Examined) -> None:
    finding = examined(start(changing_scores(as_log_odds), task="rerank"))["score-range"]
    assert finding.severity == "note"
    assert "log-odds" in finding.cause


def test_a_known_reranker_with_other_weights_misses_the_published_scores(start: Start, examined: Examined) -> None:
    finding = examined(start(task="rerank"), model="Qwen/Qwen3-Reranker-0.6B")["golden"]
    assert finding.severity == "wrong"
    assert "0.999" in finding.found


@pytest.mark.parametrize(("kind", "cause"), [("vllm", "classifier_from_token"), ("sglang", "Scores are upside down.")])
def test_right_answers_at_the_end_are_upside_down(kind: str, cause: str, start: Start, examined: Examined) -> None:
    def reverses(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        if request.method == "GET" or not request.path.endswith("/rerank"):
            return answer
        query, documents = request.body["query"], request.body["documents"]
        answers = dict(zip(samples.QUESTIONS, samples.ANSWERS, strict=True))
        rows = [
            {"index": index, "score": 0.1 if answers.get(query) == document else 0.9 - index / 100}
            for index, document in enumerate(documents)
        ]
        return 200, {"results": rows}, {}

    finding = examined(start(reverses, kind=kind, task="rerank"))["ranking"]
    assert finding.severity == "wrong"
    assert cause in finding.cause


def ranks(count: int) -> loopback.Server:
    rows = [{"index": index, "score": 0.5} for index in range(count)]
    return loopback.Server(lambda _: (200, rows, {}))


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("sglang", "SGLang does so before 0.5.8."),
        ("sglang_router", "sglang-router drops the field."),
        ("infinity", "The server does not know the field."),
    ],
)
def test_top_n_that_changes_nothing_is_a_note(connected: Connected, kind: str, cause: str) -> None:
    server = ranks(4)
    try:
        (finding,) = check_top_n(connected(server.base_url, kind))
    finally:
        server.close()
    assert (finding.severity, finding.cause) == ("note", cause)


@pytest.mark.parametrize("kind", ["tei", "mixedbread"])
def test_top_n_is_not_tried_where_the_form_has_none(connected: Connected, kind: str) -> None:
    server = ranks(4)
    try:
        assert list(check_top_n(connected(server.base_url, kind))) == []
    finally:
        server.close()
    assert server.requests == []


def test_blank_documents_that_get_a_score_are_a_note(start: Start, examined: Examined) -> None:
    findings = examined(start(task="rerank"))
    assert findings["blank-text"].severity == "note"
    assert findings["top-n"].severity == "ok"
