from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import loopback
from examinations import changing_rows, without_vectors
from qwen_embed_integrations.doctor.checks.replies import check_base64

if TYPE_CHECKING:
    from examinations import Connected, Examined, Start


def with_numbers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if isinstance(row["embedding"], list)]


def three_times_as_long(rows: list[dict[str, Any]], _: Any) -> None:
    for row in with_numbers(rows):
        row["embedding"] = [3 * value for value in row["embedding"]]


def test_vectors_that_are_not_normalised_are_a_warning(start: Start, examined: Examined) -> None:
    finding = examined(start(changing_rows(three_times_as_long)))["unit-length"]
    assert finding.severity == "warning"
    assert "3.000" in finding.found


def test_vectors_of_another_size_than_the_models_are_wrong(start: Start, examined: Examined) -> None:
    finding = examined(start(), model="Qwen/Qwen3-Embedding-0.6B")["dimensions"]
    assert finding.severity == "wrong"
    assert finding.details == {"size": 64, "expected": 1024}


def permuted(rows: list[dict[str, Any]], _: Any) -> list[dict[str, Any]]:
    return [{"embedding": row["embedding"]} for row in [*rows[1:], *rows[:1]]]


def test_rows_that_were_permuted_are_wrong(start: Start, examined: Examined) -> None:
    finding = examined(start(changing_rows(permuted)))["order"]
    assert finding.severity == "wrong"
    assert "gets the vector of text" in finding.found


def mixed_with_its_neighbour(rows: list[dict[str, Any]], _: Any) -> None:
    if len(rows) > 1:
        rows[0]["embedding"] = rows[1]["embedding"][:32] + rows[0]["embedding"][32:]


def test_a_vector_that_depends_on_its_batch_is_wrong(start: Start, examined: Examined) -> None:
    assert examined(start(changing_rows(mixed_with_its_neighbour)))["batches"].severity == "wrong"


def all_the_same(rows: list[dict[str, Any]], _: Any) -> None:
    for row in with_numbers(rows):
        row["embedding"] = [0.125] * 64


def test_a_server_that_ignores_the_text_is_wrong(start: Start, examined: Examined) -> None:
    assert examined(start(changing_rows(all_the_same)))["constant"].severity == "wrong"


def test_vectors_that_are_null_are_wrong(start: Start, examined: Examined) -> None:
    finding = examined(start(changing_rows(without_vectors)))["nan"]
    assert finding.severity == "wrong"
    assert finding.mend == "Serve it in bfloat16 or float32: --dtype bfloat16"


def overflowing_on_code(rows: list[dict[str, Any]], body: dict[str, Any]) -> None:
    if str(body["input"]).startswith("import"):
        rows[0]["embedding"] = [None] * 64


def test_nan_on_code_is_wrong(start: Start, examined: Examined) -> None:
    finding = examined(start(changing_rows(overflowing_on_code)))["nan"]
    assert finding.severity == "wrong"
    assert "source code" in finding.found


def with_base64_cut(rows: list[dict[str, Any]], _: Any) -> None:
    for row in rows:
        if isinstance(row["embedding"], str):
            row["embedding"] = row["embedding"][:-6]


def test_base64_that_was_cut_is_wrong(start: Start, examined: Examined) -> None:
    assert examined(start(changing_rows(with_base64_cut)))["base64"].severity == "wrong"


def in_big_endian(rows: list[dict[str, Any]], _: Any) -> None:
    for row in rows:
        if isinstance(row["embedding"], str):
            vector = np.frombuffer(base64.b64decode(row["embedding"]), "<f4")
            row["embedding"] = base64.b64encode(vector.astype(">f4").tobytes()).decode()


def test_base64_in_another_byte_order_is_wrong(start: Start, examined: Examined) -> None:
    assert examined(start(changing_rows(in_big_endian)))["base64"].severity == "wrong"


@pytest.mark.parametrize(
    ("kind", "cause", "mend"),
    [
        ("sglang", "SGLang does so before 0.5.17.", "Update SGLang."),
        ("infinity", "The server does not know the field.", "Nothing: clients here read either."),
    ],
)
def test_floats_for_base64_are_a_note(connected: Connected, kind: str, cause: str, mend: str) -> None:
    server = loopback.Server(lambda _: (200, {"data": [{"index": 0, "embedding": [0.6, 0.8]}]}, {}))
    try:
        (finding,) = check_base64(connected(server.base_url, kind))
    finally:
        server.close()
    assert (finding.severity, finding.cause, finding.mend) == ("note", cause, mend)


def test_base64_is_not_tried_where_it_is_never_asked_for(connected: Connected) -> None:
    server = loopback.Server(lambda _: (200, {"data": [{"index": 0, "embedding": [0.6, 0.8]}]}, {}))
    try:
        (finding,) = check_base64(connected(server.base_url, "jina"))
    finally:
        server.close()
    assert finding.severity == "ok"
    assert len(server.requests) == 1
