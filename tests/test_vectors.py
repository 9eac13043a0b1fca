from __future__ import annotations

import base64
import warnings
from typing import Any

import numpy as np
import pytest

from qwen_embed_integrations import vectors


def test_base64_is_little_endian_float32() -> None:
    row = np.array([1.0, -2.5, 3e-8], "<f4")
    vector = vectors.decode(base64.b64encode(row.tobytes()).decode())
    assert vector.dtype == np.float32
    assert vector.dtype.isnative
    np.testing.assert_array_equal(vector, row)


def test_numbers_become_float32() -> None:
    vector = vectors.decode([1, 2.5, -3e-8])
    assert vector.dtype == np.float32
    np.testing.assert_array_equal(vector, np.array([1, 2.5, -3e-8], np.float32))


def test_a_null_counts_as_nan() -> None:
    assert np.isnan(vectors.decode([1.0, None])[1])


def test_a_number_too_large_for_float32_is_infinite_and_says_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isinf(vectors.decode([1e39])[0])


@pytest.mark.parametrize("bad", ["***", "AAA", "AAAA", "é", [[1.0]], ["x"], [{}], [10**400], None, 3, {"a": 1}, (1.0,)])
def test_what_is_no_vector_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match=r"base64|float32|numbers|axis|ASCII"):
        vectors.decode(bad)


@pytest.mark.parametrize("dimensions", [1, 3, 8, None])
def test_cutting_keeps_the_front_and_renormalises(dimensions: int | None) -> None:
    rows = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
    front = rows[:, :dimensions].astype(np.float64)
    expected = front / np.linalg.norm(front, axis=1, keepdims=True)
    vector = vectors.cut(rows, dimensions)
    assert vector.dtype == np.float32
    np.testing.assert_allclose(vector, expected, rtol=1e-6)


def test_cutting_leaves_the_given_rows_alone() -> None:
    rows = np.array([[3.0, 4.0]], np.float32)
    vectors.cut(rows, None)
    vectors.cut(rows, 1)
    np.testing.assert_array_equal(rows, [[3.0, 4.0]])


def test_cutting_survives_lengths_that_float32_cannot_square() -> None:
    rows = np.array([[3e30, 4e30], [3e-30, 4e-30]], np.float32)
    np.testing.assert_allclose(vectors.cut(rows, None), [[0.6, 0.8], [0.6, 0.8]], rtol=1e-6)


def test_a_row_of_zeros_stays_zero_and_says_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(vectors.cut(np.zeros((2, 4), np.float32), 2), np.zeros((2, 2)))


def test_no_rows_are_cut_to_no_rows() -> None:
    assert vectors.cut(np.empty((0, 8), np.float32), 4).shape == (0, 4)


def test_vectors_that_are_no_direction_are_found() -> None:
    rows = np.array([[1, 0], [0, 0], [np.nan, 1], [np.inf, 1], [0, -1]], np.float32)
    assert vectors.unusable(rows).tolist() == [1, 2, 3]


def test_a_score_of_zero_is_usable() -> None:
    assert vectors.unusable(np.array([0.0, np.nan, -np.inf, 1.0])).tolist() == [1, 2]


def test_a_fingerprint_is_the_same_in_every_process_and_order() -> None:
    assert vectors.fingerprint(model="m", dimensions=8) == vectors.fingerprint(dimensions=8, model="m")
    assert vectors.fingerprint(model="m", dimensions=8) == "f64fc77a2b029e81"


@pytest.mark.parametrize(
    "other", [{"model": "n"}, {"model": "m", "dimensions": 9}, {"model": "m\u0301"}, {"model": None}]
)
def test_a_fingerprint_changes_with_every_fact(other: dict[str, Any]) -> None:
    assert vectors.fingerprint(**{"model": "m", "dimensions": 8, **other}) != vectors.fingerprint(
        model="m", dimensions=8
    )
