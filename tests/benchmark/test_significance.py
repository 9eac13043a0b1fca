from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from qwen_embed_integrations.benchmark.significance import holm, interval, paired_test


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(5).beta(2, 1, 400)


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide_each_way(values: np.ndarray) -> None:
    found = interval(values)
    error = values.std(ddof=1) / len(values) ** 0.5
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_the_interval_follows_a_skew() -> None:
    rare = np.zeros(200)
    rare[:4] = 1
    found = interval(rare)
    assert found.low >= 0
    assert found.high - found.mean > found.mean - found.low


def test_intervals_hold_the_true_mean_about_95_times_of_100() -> None:
    random = np.random.default_rng(11)
    intervals = [interval(random.beta(2, 1, 100), resamples=500, seed=index) for index in range(300)]
    held = sum(found.low <= 2 / 3 <= found.high for found in intervals)
    assert 0.90 <= held / 300 <= 0.99


def test_values_without_spread_have_an_interval_without_width() -> None:
    found = interval(np.full(50, 0.3))
    assert (found.low, found.mean, found.high) == pytest.approx((0.3, 0.3, 0.3))


def test_one_query_tells_nothing_about_chance() -> None:
    assert interval(np.array([0.4])).low == interval(np.array([0.4])).high == 0.4
    assert paired_test(np.array([0.4])) == 1.0


def test_a_seed_gives_the_same_numbers(values: np.ndarray) -> None:
    assert interval(values, seed=1) == interval(values, seed=1) != interval(values, seed=2)
    p_values = [paired_test(values - 0.66, seed=seed) for seed in (1, 1, 2, 3, 4)]
    assert p_values[0] == p_values[1]
    assert len(set(p_values)) > 1


def test_small_samples_have_their_exact_value() -> None:
    # Of the 16 ways to sign four equal differences two are as far from zero.
    assert paired_test(np.full(4, 0.1)) == pytest.approx(2 / 16, abs=0.01)


def test_the_test_is_scipys_permutation_test() -> None:
    from scipy import stats  # noqa: PLC0415 after collection, which it slows

    differences = np.random.default_rng(3).normal(0.02, 0.2, 300)
    theirs = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", vectorized=True, rng=np.random.default_rng(1)
    )
    assert paired_test(differences) == pytest.approx(theirs.pvalue, abs=0.015)


def test_the_side_of_the_difference_does_not_matter() -> None:
    differences = np.random.default_rng(3).normal(0.02, 0.2, 300)
    p_value = paired_test(differences)
    assert 0.001 < p_value < 0.5  # a value that says something
    assert paired_test(-differences) == p_value


def test_chance_alone_is_called_a_difference_about_5_times_of_100() -> None:
    random = np.random.default_rng(13)
    called = sum(paired_test(random.normal(0, 1, 40), resamples=400) < 0.05 for _ in range(300))
    assert 0.015 <= called / 300 <= 0.095


def test_no_difference_has_p_one() -> None:
    assert paired_test(np.zeros(10)) == 1.0
    assert paired_test(np.zeros(100)) == 1.0


def test_queries_without_a_difference_hardly_change_p() -> None:
    differences = np.random.default_rng(3).normal(0.02, 0.2, 50)
    padded = paired_test(np.concatenate([differences, np.zeros(500)]))
    assert padded == pytest.approx(paired_test(differences), abs=0.02)


def test_p_is_never_zero() -> None:
    assert paired_test(np.ones(200)) == pytest.approx(1 / 10_001)


def test_large_samples_are_drawn_in_batches() -> None:
    many = np.random.default_rng(2).normal(0.001, 1, 10_000)
    tracemalloc.start()
    try:
        interval(many, resamples=1000)
        paired_test(many, resamples=1000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 50e6  # all resamples together would be 80 MB, and more than once


def test_holm_multiplies_the_smallest_most_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []
