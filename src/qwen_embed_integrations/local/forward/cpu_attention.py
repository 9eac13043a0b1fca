"""Attention in blocks of the score matrix, by plain matrix products.

Short sequences share a block, behind a mask, long ones are cut into rows, so that scores stay in the caches, and half
of a causal matrix is never computed. On a CPU this is faster than PyTorch's flash kernel, which is left only the long
sequences in float32.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qwen_embed_integrations.local.forward.layout import Layout

# Tokens of short sequences that share a block: most of its scores are masked, but there are few of them.
_TOGETHER = 64
# Rows of a causal block; what lies above its diagonal is computed for nothing.
_CAUSAL_ROWS = 128
# Least rows of any other, for the product's sake.
_LEAST_ROWS = 128
# Tokens from which on PyTorch's flash kernel is faster in float32 (two cores of AVX2: by a quarter at 4,000).
_LONG = 1000
# Bytes of scores in memory at once for each thread: what a core's cache holds.
_SCORES = 2**20


@dataclass(frozen=True)
class _Block:
    """Rows of the score matrix that are computed together.

    Attributes:
        first: Where the rows begin among the queries.
        last: Where they end.
        begin: Where the tokens begin that they read.
        end: Where those end.
        shared: How many at the very beginning they read beside them.
        mask: Added to the last columns of the scores, of shape `(rows, columns)`.
        heads: Heads of keys and values in one go.
        flash: Whether it is a whole sequence for PyTorch's kernel.
    """

    first: int
    last: int
    begin: int
    end: int
    shared: int
    mask: torch.Tensor | None
    heads: int
    flash: bool = False


def blocked_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    layout: Layout,
    scale: float,
    *,
    causal: bool,
    one_each: bool = False,
) -> torch.Tensor:
    """Attend within each sequence.

    Args:
        query: Shape `(tokens, heads, head size)`; keys and values may have fewer heads.
        key: Keys.
        value: Values.
        layout: Where the sequences lie.
        scale: Factor of the scores.
        causal: Whether tokens read nothing behind them.
        one_each: Whether there is one query a sequence, which reads all of it, instead of one a token.

    Returns:
        The shape of the queries. The softmax is computed in float32 in any precision.
    """
    layout.honoured = True
    rows, heads, size = query.shape
    groups, repeats = key.shape[1], heads // key.shape[1]
    # Heads that read the same keys become more rows.
    query = query.reshape(rows, groups, repeats, size).transpose(0, 1)
    # Decoders have large scores (first tokens draw attention), which bfloat16 would round by whole tenths. Encoders do
    # without: MiniLM's vectors come out as near to float32's either way.
    kind = torch.float32 if causal else query.dtype
    key, value = key.transpose(0, 1), value.transpose(0, 1)
    exact = query.dtype == torch.float32
    if not exact:
        key = key.to(kind).contiguous()
    nothing = key.new_zeros(())
    out = query.new_empty(rows, groups, repeats, size)
    flash = exact and query.device.type == "cpu"  # on CUDA, it takes no float32
    for block in _plan(layout, groups, repeats, kind, causal=causal, one_each=one_each, flash=flash):
        asking, own = slice(block.first, block.last), slice(block.begin, block.end)
        if block.flash:
            asked = query[:, asking].transpose(1, 2).reshape(1, heads, -1, size)
            found = functional.scaled_dot_product_attention(
                asked, key[None, :, own], value[None, :, own], is_causal=causal, scale=scale, enable_gqa=True
            )
            out[asking] = found[0].view(groups, repeats, -1, size).permute(2, 0, 1, 3)
            continue
        for start in range(0, groups, block.heads):
            some = slice(start, start + block.heads)
            keys, values = key[some, own], value[some, own]
            if block.shared:
                keys = torch.cat([key[some, : block.shared], keys], 1)
                values = torch.cat([value[some, : block.shared], values], 1)
            shape = (len(keys), block.last - block.first, repeats, size)
            if exact:
                # MKL, which multiplies float32, takes numbers as they lie, and a factor.
                asked = query[some, asking].reshape(len(keys), -1, size)
                scores = torch.baddbmm(nothing, asked, keys.transpose(1, 2), beta=0, alpha=scale)
            else:
                asked = torch.mul(query[some, asking], scale, out=key.new_empty(shape)).view(len(keys), -1, size)
                scores = torch.bmm(asked, keys.transpose(1, 2))
            if block.mask is not None:
                scores[:, :, -block.mask.shape[1] :].add_(block.mask)
            found = torch.bmm(torch.softmax(scores, -1).to(values.dtype), values)
            out[asking, some] = found.view(shape).transpose(0, 1)
    return out.view(rows, heads, size)


def _plan(
    layout: Layout, groups: int, repeats: int, kind: torch.dtype, *, causal: bool, one_each: bool, flash: bool
) -> Sequence[_Block]:
    about = (groups, repeats, kind, causal, one_each, flash)
    if about not in layout.plans:
        made = (
            _blocks_of_one_each(layout, groups, repeats, kind)
            if one_each
            else _blocks(layout, groups, repeats, kind, causal=causal, flash=flash)
        )
        layout.plans[about] = list(made)
    plan: Sequence[_Block] = layout.plans[about]
    return plan


def _blocks(
    layout: Layout, groups: int, repeats: int, kind: torch.dtype, *, causal: bool, flash: bool
) -> Iterator[_Block]:
    at_once = _SCORES * torch.get_num_threads() // kind.itemsize
    start = 0
    for lengths in [*([[layout.shared]] if layout.shared else []), *_companies(layout.lengths)]:
        total, whole = sum(lengths), len(lengths) > 1
        end, shared = start + total, layout.shared if start else 0
        if flash and total >= _LONG and not shared:
            yield _Block(start, end, start, end, 0, None, groups, flash=True)
            start = end
            continue
        most = total if whole else _CAUSAL_ROWS if causal else max(_LEAST_ROWS, at_once // total)
        parts = -(-total // most)
        edges = [start + total * part // parts for part in range(parts + 1)]
        for first, last in itertools.pairwise(edges):
            stop = last if causal and not whole else end
            parted = tuple(lengths) if whole else (last - first,)
            scores = (last - first) * repeats * (stop - start + shared)
            yield _Block(
                first=first,
                last=last,
                begin=start,
                end=stop,
                shared=shared,
                mask=_mask(parted, repeats, kind, layout.device, causal=causal),
                heads=min(groups, max(1, at_once // scores)),
            )
        start = end


def _blocks_of_one_each(layout: Layout, groups: int, repeats: int, kind: torch.dtype) -> Iterator[_Block]:
    row, start = 0, layout.shared
    for lengths in _companies(layout.lengths):
        last, end = row + len(lengths), start + sum(lengths)
        mask = _mask(tuple(lengths), repeats, kind, layout.device, causal=False, one_each=True)
        yield _Block(row, last, start, end, layout.shared, mask, groups)
        row, start = last, end


def _companies(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield neighbours that share a block."""
    together: list[int] = []
    for length in lengths:
        if together and sum(together) + length > _TOGETHER:
            yield together
            together = []
        together.append(length)
    if together:
        yield together


@lru_cache(maxsize=64)
def _mask(
    lengths: Sequence[int],
    repeats: int,
    kind: torch.dtype,
    device: torch.device,
    *,
    causal: bool,
    one_each: bool = False,
) -> torch.Tensor | None:
    """Return what keeps sequences apart and, if causal, tokens from what is behind them."""
    if len(lengths) == 1 and not (causal and lengths[0] > 1):
        return None
    owners = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    asking = torch.arange(len(lengths)) if one_each else owners
    hidden = asking.unsqueeze(1) != owners
    if causal:
        hidden |= torch.ones_like(hidden).triu(1)
    return (
        torch.zeros(hidden.shape, dtype=kind)
        .masked_fill(hidden, float("-inf"))
        .repeat_interleave(repeats, 0)
        .to(device)
    )
