from __future__ import annotations

import numpy as np
import pytest

from qwen_embed_integrations.benchmark.ranking import best, fuse, ranked


def test_scores_are_ranked_best_first_and_ties_by_falling_id() -> None:
    assert ranked({"a": 1.0, "c": 2.0, "b": 2.0}) == ["c", "b", "a"]
    assert ranked({"a": 1.0, "c": 2.0, "b": 2.0}, 2) == ["c", "b"]


def test_the_best_are_those_that_ranking_everything_gives() -> None:
    random = np.random.default_rng(0)
    ids = [f"d{index}" for index in range(50)]
    for depth in (1, 7, 50, 80):
        scores = random.integers(0, 6, 50).astype(np.float32)  # many ties
        everything = dict(zip(ids, map(float, scores), strict=True))
        assert list(best(ids, scores, depth)) == ranked(everything, depth)


def test_fusion_adds_reciprocal_ranks() -> None:
    fused = fuse([{"a": 9.0, "b": 8.0}, {"b": 0.2, "c": 0.1}], k=60)
    assert fused == pytest.approx({"a": 1 / 61, "b": 1 / 62 + 1 / 61, "c": 1 / 62})


def test_fusion_looks_no_deeper_than_asked() -> None:
    assert set(fuse([{"a": 3.0, "b": 2.0, "c": 1.0}], depth=2)) == {"a", "b"}


def test_fusion_of_an_empty_result_is_the_other() -> None:
    assert ranked(fuse([{}, {"a": 2.0, "b": 1.0}])) == ["a", "b"]
