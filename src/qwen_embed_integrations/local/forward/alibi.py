"""Attention within packed sequences, with symmetric ALiBi: distance counts against a key, by a slope for each head."""

from __future__ import annotations

from functools import cache
from itertools import groupby, product
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from qwen_embed_integrations.local.forward.row_counts import rounded_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_embed_integrations.local.forward.layout import Layout

# Attention weights in memory at once, in numbers of float32: on a CPU what its caches hold, elsewhere half a gigabyte.
# All of a sequence of 8,192 tokens with 16 heads would be 4 GiB.
_AT_ONCE = {"cpu": 2**21}
_AT_ONCE_ELSEWHERE = 2**27


def slopes(heads: int) -> list[float]:
    """Return what each head takes off a score for a token of distance.

    Args:
        heads: How many; beyond a power of two, every other slope of the next power's series is added.

    Returns:
        `heads` numbers (Press et al. 2021, https://arxiv.org/abs/2108.12409, section 3 and its published code).
    """
    power = 1 << (heads.bit_length() - 1)
    first = [2.0 ** (-8 * (index + 1) / power) for index in range(power)]
    return first + [2.0 ** (-4 * (2 * index + 1) / power) for index in range(heads - power)]


def alibi_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Attend within each sequence, both ways, in bounded memory.

    Args:
        query: Shape `(tokens, heads, head size)`, as are keys and values. Rows behind the last sequence are padding.
        key: Keys.
        value: Values.
        layout: Where the sequences lie.

    Returns:
        Shape `(tokens, heads, head size)`, zeros for padding. Bias and softmax are float32 in any precision.
    """
    layout.honoured = True
    heads, size = query.shape[1:]
    out = torch.empty_like(query)
    out[sum(layout.lengths) :].zero_()
    limit = _AT_ONCE.get(query.device.type, _AT_ONCE_ELSEWHERE)
    for start, count, length in _equal_neighbours(layout, limit // heads):
        # MKL, which multiplies float32 on a CPU, compiles nothing for a new length.
        rounds = query.device.type == "cpu" and query.dtype != torch.float32
        padding = rounded_up(length) - length if rounds else 0
        queries, keys, values, attended = (
            part[start : start + count * length].view(count, length, heads, size) for part in (query, key, value, out)
        )
        if padding:
            queries, keys, values = (functional.pad(part, (0, 0, 0, 0, 0, padding)) for part in (queries, keys, values))
        # Keys and values run backwards, which changes no sum over them and turns the distances |i - j| into
        # |i + j - last|: windows that slide over one row of numbers, and take no memory of their own.
        queries = (queries * size**-0.5).transpose(1, 2)
        keys = keys.flip(1).permute(0, 2, 3, 1).contiguous()
        values = values.flip(1).transpose(1, 2).contiguous()
        bias = _bias(heads, length + padding, query.device)
        rows = min(length + padding, limit // length)
        heads_at_once = max(1, limit // (count * rows * length))
        for head, row in product(range(0, heads, heads_at_once), range(0, length, rows)):
            some, block = slice(head, head + heads_at_once), slice(row, row + rows)
            scores = torch.matmul(queries[:, some, block], keys[:, some]) + bias[some, block]
            if padding:
                scores[..., :padding] = float("-inf")
            weights = torch.softmax(scores, -1).to(values.dtype)
            states = torch.matmul(weights, values[:, some])
            attended.transpose(1, 2)[:, some, block] = states[:, :, : length - row]
    return out


def _equal_neighbours(layout: Layout, limit: int) -> Iterator[tuple[int, int, int]]:
    """Yield start, number and length of neighbours that are equally long and have few enough weights for one go."""
    start = 0
    for length, run in groupby(layout.lengths):
        left, at_once = sum(1 for _ in run), max(1, limit // length**2)
        while left:
            count = min(left, at_once)
            yield start, count, length
            start += count * length
            left -= count


def _bias(heads: int, length: int, device: torch.device) -> torch.Tensor:
    """Return -slope x |i + j - last| for all i and j as a view, shape `(heads, length, length)`."""
    middle = 1 << (length - 1).bit_length()
    row = _distances(heads, middle, device)[:, middle - length + 1 : middle + length]
    return row.unfold(1, length, 1)


@cache
def _distances(heads: int, middle: int, device: torch.device) -> torch.Tensor:
    # float32: float16 cannot tell distances above 2,048 apart, bfloat16 none above 256.
    steps = torch.arange(2 * middle + 1, dtype=torch.float32, device=device).sub_(middle).abs_()
    return torch.outer(torch.tensor(slopes(heads), device=device).neg_(), steps)
