from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from qwen_embed_integrations.collector import Collector, ListCollector
from qwen_embed_integrations.engine import Batch
from qwen_embed_integrations.errors import LongTextWarning, ModelOutputError


def collector(count: int) -> Collector:
    return Collector(count, finish=lambda values: values, parameter="texts")


def failure(*positions: int) -> Batch:
    error = ModelOutputError(f"bad at {positions}")
    error.positions = positions
    return Batch((), np.empty(0, np.float32), failure=error)


def test_parts_may_come_in_any_order() -> None:
    gathered = collector(4)
    gathered.add(Batch([3, 1], np.array([[3.0], [1.0]], np.float32)))
    gathered.add(Batch([0], np.array([[0.0]], np.float32)))
    gathered.add(Batch([2], np.array([[2.0]], np.float32)))
    np.testing.assert_array_equal(gathered.result((0,)), [[0], [1], [2], [3]])


def test_no_parts_are_an_answer_of_the_empty_shape() -> None:
    assert collector(0).result((0, 7)).shape == (0, 7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_keep_their_precision(dtype: Any) -> None:
    gathered = collector(1)
    gathered.add(Batch([0], np.array([0.1], dtype)))
    assert gathered.result((0,)).dtype == dtype


def test_failures_are_raised_as_one_error_with_all_positions() -> None:
    gathered = collector(4)
    for part in (failure(3), Batch([1], np.array([1.0])), failure(0, 2)):
        gathered.add(part)
    with pytest.raises(ModelOutputError, match=r"bad at \(0, 2\) In all, positions 0, 2, 3 failed") as caught:
        gathered.result((0,))
    assert caught.value.positions == (0, 2, 3)
    np.testing.assert_array_equal(caught.value.completed, [np.nan, 1.0, np.nan, np.nan])


def test_an_error_in_the_middle_carries_what_came_before() -> None:
    gathered = collector(2)
    gathered.add(Batch([1], np.array([1.0])))
    with pytest.raises(ModelOutputError) as caught, gathered.gathering():
        raise ModelOutputError("no")
    np.testing.assert_array_equal(caught.value.completed, [np.nan, 1.0])


def test_an_error_before_anything_carries_nothing() -> None:
    with pytest.raises(ModelOutputError) as caught, collector(2).gathering():
        raise ModelOutputError("no")
    assert caught.value.completed is None


def test_cut_texts_are_told_of_once_in_order() -> None:
    gathered = collector(30)
    for position in reversed(range(30)):
        gathered.add(Batch([position], np.array([1.0]), shortened=[position] if position % 2 else []))
    with pytest.warns(
        LongTextWarning, match="15 of 30 `texts` .* positions 1, 3, 5, 7, 9, 11, 13, 15, 17, 19 and 5 more"
    ):
        gathered.result((0,))


def test_nothing_cut_is_nothing_said() -> None:
    gathered = collector(1)
    gathered.add(Batch([0], np.array([1.0])))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gathered.result((0,))


def test_lists_are_the_same_answer_in_python_numbers() -> None:
    gathered = ListCollector(2, finish=lambda values: values, parameter="texts")
    gathered.add(Batch([1], np.array([[1.0, 2.0]], np.float32)))
    gathered.add(Batch([0], np.array([[3.0, 4.0]], np.float32)))
    assert gathered.lists() == [[3.0, 4.0], [1.0, 2.0]]


def test_lists_that_failed_carry_what_came_before() -> None:
    gathered = ListCollector(2, finish=lambda values: values, parameter="texts")
    gathered.add(Batch([1], np.array([[1.0, 2.0]], np.float32)))
    gathered.add(failure(0))
    with pytest.raises(ModelOutputError) as caught:
        gathered.lists()
    np.testing.assert_array_equal(caught.value.completed, [[np.nan, np.nan], [1.0, 2.0]])
