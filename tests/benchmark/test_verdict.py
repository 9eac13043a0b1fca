from __future__ import annotations

import pytest

from qwen_embed_integrations.benchmark.results import Comparison, Results, SystemResult
from qwen_embed_integrations.benchmark.significance import Interval
from qwen_embed_integrations.benchmark.verdict import p_text, verdict


def results(*systems: SystemResult) -> Results:
    return Results(created="", complete=True, dataset={}, settings={}, versions={}, hardware={}, systems=systems)


def system(
    name: str, mean: float, difference: tuple[float, float, float] | None = None, p: float = 1.0
) -> SystemResult:
    return SystemResult(
        name,
        "dense",
        {},
        metrics={"nDCG@10": Interval(mean, mean - 0.02, mean + 0.02)},
        comparison=Comparison("first", Interval(*difference), p / 2, p) if difference else None,
    )


FAILED = SystemResult("broken", "dense", {}, error="no server")


def test_a_better_system_is_named_with_size_interval_and_p() -> None:
    sentence = verdict(results(system("first", 0.5), system("other", 0.55, (0.05, 0.03, 0.07), 0.0004)))
    assert sentence == "other is better than first by 0.050 nDCG@10 (95% interval 0.030 to 0.070, p < 0.001)."


def test_where_the_first_is_best_it_is_compared_with_the_next() -> None:
    sentence = verdict(
        results(
            system("first", 0.5),
            system("worst", 0.3, (-0.2, -0.22, -0.18), 0.001),
            system("next", 0.45, (-0.05, -0.07, -0.03), 0.012),
        )
    )
    assert sentence == "first is better than next by 0.050 nDCG@10 (95% interval 0.030 to 0.070, p = 0.012)."


def test_a_difference_that_may_be_chance_is_called_none() -> None:
    sentence = verdict(results(system("first", 0.5), system("other", 0.51, (0.01, -0.01, 0.03), 0.3)))
    assert sentence == (
        "Between other and first there is no difference this test can see: "
        "0.010 nDCG@10 (95% interval -0.010 to 0.030, p = 0.300)."
    )


def test_the_corrected_p_decides() -> None:
    assert "no difference" in verdict(results(system("first", 0.5), system("other", 0.6, (0.1, 0.01, 0.2), 0.06)))


def test_a_single_system_is_compared_with_nothing() -> None:
    sentence = verdict(results(FAILED, system("first", 0.5)))
    assert sentence == "first reaches nDCG@10 0.500 (95% interval 0.480 to 0.520); there is nothing to compare it with."


def test_without_any_system_that_is_said() -> None:
    assert verdict(results(FAILED)) == "No system finished."
    assert verdict(results()) == "No system has finished yet."


@pytest.mark.parametrize(("p", "text"), [(1.0, "p = 1.000"), (0.0123, "p = 0.012"), (0.0009, "p < 0.001")])
def test_p_is_written_with_three_digits(p: float, text: str) -> None:
    assert p_text(Comparison("x", Interval(0, 0, 0), p, p)) == text


@pytest.mark.parametrize("tiny", [-0.0001, -0.0, 0.0, 0.0001])
def test_zero_has_no_sign(tiny: float) -> None:
    sentence = verdict(results(system("first", 0.5), system("other", 0.5, (tiny, tiny - 0.0002, tiny + 0.0002))))
    assert "0.000 nDCG@10 (95% interval 0.000 to 0.000" in sentence
    assert "-0.000" not in sentence
