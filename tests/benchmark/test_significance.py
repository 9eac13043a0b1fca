from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from qwen_embed_integrations.benchmark import significance
from qwen_embed_integrations.benchmark.significance import holm, interval, paired_test


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(5).beta(2, 1, 400)


def test_the_interval_is_scipys_percentile_bootstrap(values: np.ndarray) -> None:
    ours = interval(values)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=9999, method="percentile", random_state=np.random.default_rng(1)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.mean == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.low, abs=0.06 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.06 * width)


def test_a_seed_gives_the_same_numbers(values: np.ndarray) -> None:
    assert interval(values, seed=1) == interval(values, seed=1) != interval(values, seed=2)
    assert paired_test(values - 0.66, seed=1) == paired_test(values - 0.66, seed=1)


def test_the_test_is_scipys_permutation_test() -> None:
    differences = np.random.default_rng(3).normal(0.02, 0.2, 300)
    theirs = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=9999,
        vectorized=True,
        random_state=np.random.default_rng(1),
    ).pvalue
    assert paired_test(differences) == pytest.approx(theirs, abs=0.015)
    assert 0.005 < theirs < 0.5  # a value that says something


def test_small_samples_have_their_exact_value() -> None:
    # Of the 16 ways to sign four equal differences two are as far from zero.
    assert paired_test(np.full(4, 0.1)) == pytest.approx(2 / 16, abs=0.01)


def test_no_difference_has_p_one() -> None:
    assert paired_test(np.zeros(10)) == 1.0


def test_queries_without_a_difference_do_not_change_p() -> None:
    differences = np.random.default_rng(3).normal(0.02, 0.2, 50)
    assert paired_test(np.concatenate([differences, np.zeros(500)])) == paired_test(differences)


def test_p_is_never_zero() -> None:
    assert paired_test(np.ones(200)) == pytest.approx(1 / 10_001)


def test_large_samples_are_drawn_in_pieces(values: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(significance, "_PIECE", 400 * 7)
    pieces = interval(values, resamples=100)
    assert pieces.low < pieces.mean < pieces.high
    assert paired_test(values, resamples=100) == pytest.approx(1 / 101)


def test_holm_multiplies_the_smallest_most_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []
