from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from qwen_embed_integrations.collector import Collector
from qwen_embed_integrations.engine import Batch, Usage
from qwen_embed_integrations.errors import InvalidInputError, LongTextWarning, ModelOutputError
from qwen_embed_integrations.inputs import check_texts


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
    np.testing.assert_array_equal(gathered.result((0,), stacklevel=1), [[0], [1], [2], [3]])


def test_no_parts_are_an_answer_of_the_empty_shape() -> None:
    assert collector(0).result((0, 7), stacklevel=1).shape == (0, 7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_keep_their_precision(dtype: Any) -> None:
    gathered = collector(1)
    gathered.add(Batch([0], np.array([0.1], dtype)))
    assert gathered.result((0,), stacklevel=1).dtype == dtype


def test_failures_are_raised_as_one_error_with_all_positions() -> None:
    gathered = collector(4)
    for part in (failure(3), Batch([1], np.array([1.0])), failure(0, 2)):
        gathered.add(part)
    with pytest.raises(ModelOutputError, match=r"bad at \(0, 2\) In all, positions 0, 2, 3 failed") as caught:
        gathered.result((0,), stacklevel=1)
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
    for at in reversed(range(30)):
        gathered.add(Batch([at], np.array([1.0]), shortened=[at] if at % 2 else []))
    with pytest.warns(
        LongTextWarning, match="15 of 30 `texts` .* positions 1, 3, 5, 7, 9, 11, 13, 15, 17, 19 and 5 more"
    ):
        gathered.result((0,), stacklevel=1)


def test_nothing_cut_is_nothing_said() -> None:
    gathered = collector(1)
    gathered.add(Batch([0], np.array([1.0])))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gathered.result((0,), stacklevel=1)


def test_usage_adds_up() -> None:
    assert Usage(1, 2) + Usage(10, 20) == Usage(11, 22)


def test_texts_are_returned_as_they_were_given() -> None:
    texts = [" a ", "b\n", "\U0001f600"]
    assert check_texts(iter(texts), parameter="texts") == texts


def test_many_wrong_positions_are_counted_rather_than_listed() -> None:
    with pytest.raises(InvalidInputError, match="positions 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 15 more") as caught:
        check_texts([""] * 25, parameter="texts")
    assert caught.value.positions == tuple(range(25))
