from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import rerank_latency

if TYPE_CHECKING:
    from collections.abc import Callable


def test_reranking_is_measured_beside_both_ways_of_the_peer_with_the_same_scores(
    measure: Callable[..., Any], tiny_qwen3: dict[str, Any]
) -> None:
    pytest.importorskip("sentence_transformers", reason="the peer is not installed")
    figures = measure(
        rerank_latency.main, shape=json.dumps(tiny_qwen3), documents=5, tokens=30, sizes="1,5,50", dtype="bfloat16"
    )
    rows = {row["contender"]: row for row in figures["rows"]}
    (facts,) = figures["models"].values()
    peers = ["CrossEncoder (causal)", "CrossEncoder (classifier)"]
    assert [*rows] == ["Reranker.local", *peers]
    assert all(row["milliseconds"] > 0 for row in rows.values())
    # Documents have 20 to 40 tokens; the prompt around each, which is computed once here, has more.
    assert rows["Reranker.local"]["tokens"] < facts["tokens_of_all_prompts"] * 0.6
    spread = facts["float32"]["logits_within"]
    assert spread > 0.01
    for peer in peers:
        assert rows[peer]["batch"] in {1, 5}
        assert rows[peer]["tokens"] >= facts["tokens_of_all_prompts"]
        assert rows[peer]["difference"] < 0.05 * max(1, spread)
        assert facts["float32"]["largest_difference"][peer] <= 1e-4


@pytest.mark.parametrize("options", ["--documents 0", "--tokens none", "--sizes 0", "--dtype float16"])
def test_an_option_that_cannot_be_is_refused_by_name(options: str, refused: Callable[..., str]) -> None:
    assert f"argument {options.partition(' ')[0]}" in refused(rerank_latency.main, options)
