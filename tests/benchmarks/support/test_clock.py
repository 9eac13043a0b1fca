from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from support import clock
from support.clock import Budget, Contender, best_batch_size, in_turn

if TYPE_CHECKING:
    from collections.abc import Callable


class Time:
    """A clock that only jobs advance."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    process_time = perf_counter


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(clock, "time", made)
    return made


def job(time: Time, took: Callable[[int | None], float], runs: list[int | None]) -> Contender:
    def run(batch: int | None) -> None:
        runs.append(batch)
        time.now += took(batch)

    return Contender("a job", run)


def test_the_fastest_batch_size_is_found_and_clearly_slower_ones_end_the_search(time: Time) -> None:
    took = {1: 10.0, 4: 6.0, 8: 5.0, 16: 9.0, 32: 1.0}
    runs: list[int | None] = []
    assert best_batch_size(job(time, lambda batch: took[batch or 0], runs), [*took], Budget(1000)) == 8
    assert runs == [1, 4, 8, 16, 8, 4]


def test_the_search_ends_before_its_budget_is_exceeded(time: Time) -> None:
    took = {1: 10.0, 4: 6.0, 8: 5.0}
    runs: list[int | None] = []
    assert best_batch_size(job(time, lambda batch: took[batch or 0], runs), [*took], Budget(20)) == 4
    assert runs == [1, 4]


def test_sizes_that_memory_does_not_hold_are_passed_over(time: Time) -> None:
    def took(batch: int | None) -> float:
        if batch != 1:
            raise torch.OutOfMemoryError
        return 1.0

    assert best_batch_size(job(time, took, []), [1, 4, 8], Budget(1000)) == 1
    with pytest.raises(MemoryError, match="a job runs out of memory at every batch size from 4 on"):
        best_batch_size(job(time, took, []), [4, 8], Budget(1000))


def test_contenders_take_turns_and_the_median_counts(time: Time) -> None:
    times = iter([1.0, 5.0, 4.0, 2.0, 9.0, 6.0])
    runs: list[int | None] = []
    first, second = (
        job(time, lambda _: next(times), runs),
        Contender("b", job(time, lambda _: next(times), runs).run, 7),
    )
    timings = in_turn([first, second], 3, Budget(1000))
    assert runs == [None, 7, 7, None, None, 7]
    assert [(timing.seconds, timing.runs) for timing in timings] == [(2.0, 3), (5.0, 3)]


@pytest.mark.parametrize(("limit", "rounds"), [(1, 1), (19, 1), (20, 2), (1000, 4)])
def test_rounds_end_before_the_budget_is_exceeded_but_one_is_run(time: Time, limit: float, rounds: int) -> None:
    runs: list[int | None] = []
    (timing,) = in_turn([job(time, lambda _: 10.0, runs)], 4, Budget(limit))
    assert timing.runs == len(runs) == rounds
