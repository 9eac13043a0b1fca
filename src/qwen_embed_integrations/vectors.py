"""Vectors in and out: decoding, checking, cutting, naming."""

from __future__ import annotations

import binascii
import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

Float32 = npt.NDArray[np.float32]
# Vectors are float32; scores are whatever they came as, so that two scores a server tells apart stay apart.
Floats = npt.NDArray[Any]

_LITTLE_ENDIAN_FLOAT32 = np.dtype("<f4")


def decode(values: str | Sequence[float]) -> Float32:
    """Read one vector as servers write it, whatever format was requested.

    Args:
        values: base64 of little-endian float32, or numbers. A null counts as NaN.

    Returns:
        The vector, shape `(size,)`.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(values, str):
        import pybase64  # noqa: PLC0415 only servers write it; local models run without

        try:
            raw = pybase64.b64decode(values, validate=True)
        except (binascii.Error, ValueError) as error:  # ValueError: not ASCII
            raise ValueError(f"not base64: {error}") from error
        if len(raw) % _LITTLE_ENDIAN_FLOAT32.itemsize:
            raise ValueError(f"{len(raw)} bytes are no whole number of float32 values")
        return np.frombuffer(raw, _LITTLE_ENDIAN_FLOAT32).astype(np.float32, copy=False)
    if not isinstance(values, list):
        raise ValueError(f"neither a list of numbers nor base64, but {type(values).__name__}")  # noqa: TRY004 a reply, not an argument
    if not {str, bool}.isdisjoint(map(type, values)):
        raise ValueError("not a list of numbers: it holds strings or booleans")  # which numpy would take for numbers
    try:
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is refused as that
            vector = np.array(values, np.float32)  # None becomes NaN
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"not a list of numbers: {error}") from error
    if vector.ndim != 1:
        raise ValueError(f"a vector has one axis, this has {vector.ndim}")
    return vector


def cut(rows: Float32, dimensions: int | None) -> Float32:
    """Keep the first dimensions and bring every row to length 1.

    Args:
        rows: Finite vectors, shape `(n, size)`.
        dimensions: How many to keep; None keeps all.

    Returns:
        New rows of shape `(n, dimensions)`. A row of zeros stays zero.
    """
    kept = rows[:, :dimensions].astype(np.float32)
    lengths = np.linalg.norm(kept.astype(np.float64), axis=1, keepdims=True)
    np.divide(kept, lengths, out=kept, where=lengths > 0, casting="same_kind")
    return kept


def unusable(values: Floats) -> npt.NDArray[np.intp]:
    """Return the positions of vectors that are no direction (not finite, or all zeros), or of scores not finite."""
    if values.ndim == 1:
        return np.flatnonzero(~np.isfinite(values))
    return np.flatnonzero(~np.isfinite(values).all(axis=1) | ~values.any(axis=1))


def fingerprint(**facts: Any) -> str:
    """Name a set of facts by a short stable hash.

    Args:
        **facts: JSON-serialisable values; their order does not matter.

    Returns:
        16 hexadecimal digits.
    """
    text = json.dumps(facts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
