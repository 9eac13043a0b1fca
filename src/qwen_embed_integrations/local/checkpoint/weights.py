"""The weights in a checkpoint's safetensors files: how large they are, and reading them in another precision."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles

# Bytes read before the file is opened anew: what was read of a mapped file stays in memory until it is closed.
_READ_AT_ONCE = 32 * 2**20
# As safetensors names them; others are no floating-point numbers, and stay what they are.
_FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_WIDEST = 8
_HEAD = "lm_head.weight"
_EMBEDDINGS = "embed_tokens.weight"
_OTHERS = {"I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2}


class StoredWeights:
    """Weights as they lie on disk.

    Args:
        files: The checkpoint.
        skipped: Beginnings of the names of weights that are not read.

    Attributes:
        dtypes: The precisions of the floating-point ones.
    """

    def __init__(self, files: CheckpointFiles, skipped: tuple[str, ...] = ()) -> None:
        paths = files.weight_files()
        if files.config.get("tie_word_embeddings") and not _HEAD.startswith(skipped) and _repeats_embeddings(paths):
            skipped = (*skipped, _HEAD)
        self.dtypes: set[torch.dtype] = set()
        self._large: list[tuple[Path, str]] = []
        self._batches: list[tuple[Path, list[str]]] = []
        self._numbers = self._other_bytes = 0
        for path in paths:
            room = 0
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 no mapping
                    if name.startswith(skipped):
                        continue
                    stored = file.get_slice(name)
                    count = prod(stored.get_shape())
                    size = self._add(stored.get_dtype(), count)
                    if size > _READ_AT_ONCE and stored.get_dtype() in _FLOATS:
                        self._large.append((path, name))
                        continue
                    if room < size or not self._batches or self._batches[-1][0] != path:
                        self._batches.append((path, []))
                        room = _READ_AT_ONCE
                    self._batches[-1][1].append(name)
                    room -= size

    def _add(self, dtype: str, count: int) -> int:
        if dtype in _FLOATS:
            self.dtypes.add(_FLOATS[dtype])
            self._numbers += count
            return count * _FLOATS[dtype].itemsize
        size = count * _OTHERS.get(dtype, 1)
        self._other_bytes += size
        return size

    def size(self, dtype: torch.dtype) -> int:
        """Return how many bytes the weights take in memory in a precision."""
        return self._numbers * dtype.itemsize + self._other_bytes

    def converted(self, dtype: torch.dtype) -> Iterator[tuple[str, torch.Tensor]]:
        """Read the weights in a precision, holding little of the files in memory beside them."""
        for path, name in self._large:
            yield name, _by_rows(path, name, dtype)
        for path, names in self._batches:
            with safe_open(path, framework="pt") as file:
                for name in names:
                    tensor = file.get_tensor(name)
                    # A copy in any case: a view would keep all of the file mapped.
                    yield name, tensor.to(dtype if tensor.is_floating_point() else None, copy=True)
                    del tensor


def _by_rows(path: Path, name: str, dtype: torch.dtype) -> torch.Tensor:
    with safe_open(path, framework="pt") as file:
        tensor = torch.empty(file.get_slice(name).get_shape(), dtype=dtype)
    for rows in _pieces(list(tensor.shape)):
        with safe_open(path, framework="pt") as file:
            tensor[rows] = file.get_slice(name)[rows]
    return tensor


def _pieces(shape: list[int]) -> Iterator[slice]:
    rows = max(1, _READ_AT_ONCE // (prod(shape[1:]) * _WIDEST))
    return (slice(start, start + rows) for start in range(0, shape[0], rows))


def _repeats_embeddings(paths: list[Path]) -> bool:
    """Tell whether the head is the embeddings once more; a head of its own is run, whatever the config says."""
    places: dict[str, tuple[Path, str]] = {}
    for path in paths:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 no mapping
                if name == _HEAD or name.endswith(_EMBEDDINGS):
                    places[_HEAD if name == _HEAD else _EMBEDDINGS] = (path, name)
    if len(places) < 2:  # noqa: PLR2004 both
        return False
    head, embeddings = places[_HEAD], places[_EMBEDDINGS]
    described = []
    for path, name in (head, embeddings):
        with safe_open(path, framework="pt") as file:
            stored = file.get_slice(name)
            described.append((stored.get_dtype(), stored.get_shape()))
    return described[0] == described[1] and all(
        torch.equal(_read(*head, rows), _read(*embeddings, rows)) for rows in _pieces(described[0][1])
    )


def _read(path: Path, name: str, rows: slice) -> torch.Tensor:
    with safe_open(path, framework="pt") as file:
        read: torch.Tensor = file.get_slice(name)[rows]
        return read
