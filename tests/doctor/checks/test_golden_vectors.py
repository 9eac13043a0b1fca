from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import loopback
from examinations import changing_rows
from qwen_embed_integrations.doctor.checks.golden_vectors import check_golden
from qwen_embed_integrations.doctor.data.golden import VECTORS
from qwen_embed_integrations.profiles import profile_for

if TYPE_CHECKING:
    from examinations import Connected, Examined, Start

MODEL = "jinaai/jina-embeddings-v2-base-zh"  # one query and one document


def test_a_known_model_with_other_weights_misses_the_published_numbers(start: Start, examined: Examined) -> None:
    finding = examined(start(), model="Qwen/Qwen3-Embedding-0.6B")["golden"]
    assert finding.severity == "wrong"
    assert "0.765" in finding.found


def at_a_cosine_of(cosine: float) -> loopback.Server:
    """Start a server whose vectors of two texts have this cosine."""
    rows = np.array([[1.0, 0.0], [cosine, np.sqrt(1 - cosine**2)]])
    data = [{"index": index, "embedding": row.tolist()} for index, row in enumerate(rows)]
    return loopback.Server(lambda _: (200, {"data": data}, {}))


def judged(connected: Connected, off: float, model: str = MODEL) -> Any:
    server = at_a_cosine_of(VECTORS[MODEL][0].cosines[0][0] - off)
    try:
        examined_server = connected(server.base_url, model=model)
        examined_server.profile = profile_for(MODEL)
        (finding,) = check_golden(examined_server)
    finally:
        server.close()
    return finding


def test_published_numbers_may_be_missed_by_rounding_and_by_more_where_weights_are_quantized(
    connected: Connected,
) -> None:
    assert judged(connected, 0.0).severity == "ok"
    assert judged(connected, 0.015).severity == "ok"
    assert judged(connected, 0.05).severity == "wrong"
    quantized = judged(connected, 0.05, model="jina-zh-GGUF")
    assert quantized.severity == "warning"
    assert "quantized" in quantized.cause
    assert judged(connected, 0.2, model="jina-zh-GGUF").severity == "wrong"


def test_without_published_numbers_questions_that_find_no_answers_are_a_note_or_wrong_of_a_known_model(
    start: Start, examined: Examined
) -> None:
    server = start()  # untrained weights
    assert examined(server)["ranking"].severity == "note"
    assert examined(server, model="mixedbread-ai/mxbai-embed-xsmall-v1")["ranking"].severity == "wrong"


def test_an_instruction_that_changes_nothing_is_wrong(start: Start, examined: Examined) -> None:
    def ignore_the_beginning(rows: list[dict[str, Any]], body: dict[str, Any]) -> None:
        texts = body["input"]
        if len(rows) == 3 and isinstance(texts[0], str) and all(text.endswith(texts[0]) for text in texts):
            for row in rows[1:]:
                row["embedding"] = rows[0]["embedding"]

    finding = examined(start(changing_rows(ignore_the_beginning)))["instruction"]
    assert finding.severity == "wrong"
    assert "with and without an instruction" in finding.found
