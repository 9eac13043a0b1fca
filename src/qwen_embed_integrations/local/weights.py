"""The weights in a checkpoint's safetensors files: how large they are, and reading them in another precision."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from qwen_embed_integrations.local.files import CheckpointFiles

# Bytes read before the file is opened anew: what was read of a mapped file stays in memory until it is closed.
_LOT = 32 * 2**20
# As safetensors names them; others are no floating-point numbers, and stay what they are.
_FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_WIDEST = 8
_OTHERS = {"I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2}


class StoredWeights:
    """Weights as they lie on disk.

    Args:
        files: The checkpoint.
        left: Beginnings of the names of weights that are not read.

    Attributes:
        dtypes: The precisions of the floating-point ones.
    """

    def __init__(self, files: CheckpointFiles, left: tuple[str, ...] = ()) -> None:
        if files.config.get("tie_word_embeddings"):
            left = (*left, "lm_head.")  # the embeddings once more
        self.dtypes: set[torch.dtype] = set()
        self._large: list[tuple[Path, str]] = []
        self._lots: list[tuple[Path, list[str]]] = []
        self._numbers = self._other_bytes = 0
        for path in _paths(files):
            room = 0
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 no mapping
                    if name.startswith(left):
                        continue
                    stored = file.get_slice(name)
                    count = prod(stored.get_shape())
                    size = self._add(stored.get_dtype(), count)
                    if size > _LOT and stored.get_dtype() in _FLOATS:
                        self._large.append((path, name))
                        continue
                    if room < size or not self._lots or self._lots[-1][0] != path:
                        self._lots.append((path, []))
                        room = _LOT
                    self._lots[-1][1].append(name)
                    room -= size

    def _add(self, kind: str, count: int) -> int:
        if kind in _FLOATS:
            self.dtypes.add(_FLOATS[kind])
            self._numbers += count
            return count * _FLOATS[kind].itemsize
        size = count * _OTHERS.get(kind, 1)
        self._other_bytes += size
        return size

    def size(self, dtype: torch.dtype) -> int:
        """Return how many bytes the weights take in memory in a precision."""
        return self._numbers * dtype.itemsize + self._other_bytes

    def converted(self, dtype: torch.dtype) -> Iterator[tuple[str, torch.Tensor]]:
        """Read the weights in a precision, holding little of the files in memory beside them."""
        for path, name in self._large:
            yield name, _by_rows(path, name, dtype)
        for path, names in self._lots:
            with safe_open(path, framework="pt") as file:
                for name in names:
                    tensor = file.get_tensor(name)
                    # A copy in any case: a view would keep all of the file mapped.
                    yield name, tensor.to(dtype if tensor.is_floating_point() else None, copy=True)
                    del tensor


def _by_rows(path: Path, name: str, dtype: torch.dtype) -> torch.Tensor:
    with safe_open(path, framework="pt") as file:
        made = torch.empty(file.get_slice(name).get_shape(), dtype=dtype)
    rows = max(1, _LOT // (made[0].numel() * _WIDEST))
    for start in range(0, len(made), rows):
        with safe_open(path, framework="pt") as file:
            made[start : start + rows] = file.get_slice(name)[start : start + rows]
    return made


def _paths(files: CheckpointFiles) -> list[Path]:
    """Return the files that transformers reads, as far as they are there."""
    whole = files.folder / "model.safetensors"
    if whole.is_file():
        return [whole]
    index = files.read_json("model.safetensors.index.json") or {}
    shards = (files.folder / name for name in sorted(set(index.get("weight_map", {}).values())))
    return [path for path in shards if path.is_file()]
