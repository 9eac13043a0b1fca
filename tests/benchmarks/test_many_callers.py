from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import many_callers

if TYPE_CHECKING:
    from collections.abc import Callable


def test_callers_are_measured_by_threads_in_an_event_loop_and_alone(
    measure: Callable[..., Any], tiny_qwen3: dict[str, Any]
) -> None:
    pytest.importorskip("llama_index.embeddings.huggingface", reason="the peer is not installed")
    figures = measure(many_callers.main, models="qwen3", shape=json.dumps(tiny_qwen3), callers=8)
    measured = {(row["contender"], row["callers"]) for row in figures["rows"]}
    objects = {
        "Embedder",
        "LocalEmbeddings (LangChain)",
        "LocalEmbedding (LlamaIndex)",
        "HuggingFaceEmbedding (LlamaIndex)",
    }
    ways = {"threads": 8, "asyncio": 8, "alone": 10}
    assert measured == {(name, way) for name in objects for way in ways} | {("the model, directly", "alone")}
    for row in figures["rows"]:
        assert row["queries"] == ways[row["callers"]]
        assert 0 < row["p50"] <= row["p95"] <= row["seconds"] * 1001
        assert row["ours"] > 0


@pytest.mark.parametrize("options", ["--models jina", "--callers 0"])
def test_an_option_that_cannot_be_is_refused_by_name(options: str, refused: Callable[..., str]) -> None:
    assert f"argument {options.partition(' ')[0]}" in refused(many_callers.main, options)
