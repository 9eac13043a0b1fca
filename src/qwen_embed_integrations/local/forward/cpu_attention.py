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

from qwen_embed_integrations.local.forward.row_counts import rounded_up

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qwen_embed_integrations.local.forward.layout import Layout

# Tokens of short sequences that share a block: most of its scores are masked, but there are few of them.
_SHARED_BLOCK = 64
# Rows of a causal block; what lies above its diagonal is computed for nothing.
_CAUSAL_ROWS = 128
# Least rows of any other, for the product's sake.
_LEAST_ROWS = 128
# Tokens from which on PyTorch's flash kernel is faster in float32 (two cores of AVX2: by a quarter at 4,000).
_LONG = 1000
# Rows of a block are a multiple of this, but in the last.
_STEP = 16
# Bytes of scores in memory at once for each thread: what a core's cache holds.
_SCORES = 2**20


@dataclass(frozen=True)
class _Block:
    """Rows of the score matrix that are computed together.

    Attributes:
        queries: Which queries ask.
        keys: Which tokens they read.
        shared: How many at the very beginning they read beside them.
        mask: Added to the last columns of the scores, of shape `(rows, columns)`.
        heads: Heads of keys and values in one go.
        rows: Number of queries, rounded up.
        columns: Number of keys without shared ones, rounded up; what follows `keys` is read, and counts nothing.
        flash: Whether it is a whole sequence for PyTorch's kernel.
    """

    queries: slice
    keys: slice
    shared: int
    mask: torch.Tensor | None
    heads: int
    rows: int
    columns: int
    flash: bool = False


@dataclass(frozen=True)
class _Setting:
    """What blocks depend on beside the layout.

    Attributes:
        groups: Heads of keys and values.
        repeats: Heads of queries for each of those.
        dtype: Precision of queries, keys and values.
        causal: Whether tokens read nothing behind them.
        one_query: Whether there is one query a sequence instead of one a token.
        tokens: Rows of keys and values, padding included.
    """

    groups: int
    repeats: int
    dtype: torch.dtype
    causal: bool
    one_query: bool
    tokens: int

    @property
    def exact(self) -> bool:
        """Whether all is float32."""
        return self.dtype == torch.float32

    @property
    def score_dtype(self) -> torch.dtype:
        """Precision of the scores.

        Decoders have large ones (first tokens draw attention), which bfloat16 would round by whole tenths. Encoders do
        without: MiniLM's vectors come out as near to float32's either way.
        """
        return torch.float32 if self.causal else self.dtype


def blocked_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    layout: Layout,
    scale: float,
    *,
    causal: bool,
    one_query: bool = False,
) -> torch.Tensor:
    """Attend within each sequence.

    Args:
        query: Shape `(tokens, heads, head size)`; keys and values may have fewer heads. Rows behind the last sequence
            are padding.
        key: Keys.
        value: Values.
        layout: Where the sequences lie.
        scale: Factor of the scores.
        causal: Whether tokens read nothing behind them.
        one_query: Whether there is one query a sequence, which reads all of it, instead of one a token.

    Returns:
        The shape of the queries, zeros for padding. The softmax is computed in float32 in any precision.
    """
    layout.honoured = True
    rows, heads, size = query.shape
    groups, repeats = key.shape[1], heads // key.shape[1]
    setting = _Setting(groups, repeats, query.dtype, causal, one_query, len(key))
    # Heads that read the same keys become more rows.
    query = query.reshape(rows, groups, repeats, size).transpose(0, 1)
    key, value = key.transpose(0, 1), value.transpose(0, 1)
    if not setting.exact:
        key = key.to(setting.score_dtype).contiguous()
    nothing = key.new_zeros(())
    out = query.new_empty(rows, groups, repeats, size)
    used_rows = len(layout.lengths) if one_query else layout.shared + sum(layout.lengths)
    if used_rows < rows:
        out[used_rows:].zero_()
    for block in _plan(layout, setting):
        if block.flash:
            asking = query[:, block.queries].transpose(1, 2).reshape(1, heads, -1, size)
            attended = functional.scaled_dot_product_attention(
                asking,
                key[None, :, block.keys],
                value[None, :, block.keys],
                is_causal=causal,
                scale=scale,
                enable_gqa=True,
            )
            out[block.queries] = attended[0].view(groups, repeats, -1, size).permute(2, 0, 1, 3)
            continue
        count, own = block.queries.stop - block.queries.start, block.keys.stop - block.keys.start
        read, used = slice(block.keys.start, block.keys.start + block.columns), block.shared + own
        for start in range(0, groups, block.heads):
            some = slice(start, start + block.heads)
            keys, values = key[some, read], value[some, read]
            if block.shared:
                keys = torch.cat([key[some, : block.shared], keys], 1)
                values = torch.cat([value[some, : block.shared], values], 1)
            shape = (len(keys), block.rows, repeats, size)
            if setting.exact:
                # MKL, which multiplies float32, takes numbers as they lie, and a factor.
                asking = query[some, block.queries].reshape(len(keys), -1, size)
                scores = torch.baddbmm(nothing, asking, keys.transpose(1, 2), beta=0, alpha=scale)
            else:
                scaled = key.new_empty(shape) if count == block.rows else key.new_zeros(shape)
                torch.mul(query[some, block.queries], scale, out=scaled[:, :count])
                scores = torch.bmm(scaled.view(len(keys), -1, size), keys.transpose(1, 2))
            if block.mask is not None:
                scores[:, : count * repeats, used - block.mask.shape[1] : used].add_(block.mask)
            if block.columns > own:
                scores[:, :, used:] = float("-inf")
            attended = torch.bmm(torch.softmax(scores, -1).to(values.dtype), values)
            out[block.queries, some] = attended.view(shape)[:, :count].transpose(0, 1)
    return out.view(rows, heads, size)


def padded_tokens(layout: Layout, dtype: torch.dtype) -> int:
    """Return how many rows a pass should have, so that each block can read as many as it is rounded up to."""
    start, end = layout.shared, layout.shared + sum(layout.lengths)
    if dtype == torch.float32:
        return rounded_up(end)
    for lengths in _block_mates(layout.lengths):
        tokens = sum(lengths)
        end = max(end, start + rounded_up(layout.shared + tokens) - layout.shared)
        start += tokens
    return rounded_up(end)


def _plan(layout: Layout, setting: _Setting) -> Sequence[_Block]:
    if setting not in layout.plans:
        layout.plans[setting] = list(_blocks(layout, setting))
    plan: Sequence[_Block] = layout.plans[setting]
    return plan


def _blocks(layout: Layout, setting: _Setting) -> Iterator[_Block]:
    on_cpu = layout.device.type == "cpu"
    takes_flash = setting.exact and on_cpu and not setting.one_query  # on CUDA, it takes no float32
    beginning = [[layout.shared]] if layout.shared and not setting.one_query else []
    query, start = 0, 0 if beginning else layout.shared
    for lengths in [*beginning, *_block_mates(layout.lengths)]:
        tokens = sum(lengths)
        if takes_flash and tokens >= _LONG and not (start and layout.shared):
            own = slice(start, start + tokens)
            yield _Block(own, own, 0, None, setting.groups, tokens, tokens, flash=True)
        else:
            yield from _product_blocks(layout, setting, lengths, query, start)
        query, start = query + (len(lengths) if setting.one_query else tokens), start + tokens


def _product_blocks(
    layout: Layout, setting: _Setting, lengths: Sequence[int], query: int, start: int
) -> Iterator[_Block]:
    """Yield the blocks of sequences of these lengths, whose first query and first token are given."""
    tokens, alone = sum(lengths), len(lengths) == 1 and not setting.one_query
    queries = len(lengths) if setting.one_query else tokens
    causal = setting.causal and not setting.one_query
    shared = layout.shared if start else 0
    at_once = _SCORES * torch.get_num_threads() // setting.score_dtype.itemsize
    limit = _CAUSAL_ROWS if causal else max(_LEAST_ROWS, at_once // rounded_up(tokens) // _STEP * _STEP)
    # Alike, and cut where a count of rows or columns needs no rounding up.
    parts = -(-queries // limit) if alone else 1
    step = -(-queries // (parts * _STEP)) * _STEP
    edges = [*range(0, queries, step), queries]
    for first, last in itertools.pairwise(edges):
        stop = last if causal and alone else tokens
        rows, columns = _rounded(last - first, shared + stop, setting, layout.device)
        # Of the padding, only as much as there is.
        columns = columns - shared if start + columns - shared <= setting.tokens else stop
        masked = (last - first,) if alone else tuple(lengths)
        yield _Block(
            queries=slice(query + first, query + last),
            keys=slice(start, start + stop),
            shared=shared,
            mask=_mask(
                masked,
                setting.repeats,
                setting.score_dtype,
                layout.device,
                causal=causal,
                one_query=setting.one_query,
            ),
            heads=min(setting.groups, max(1, at_once // (rows * setting.repeats * (shared + columns)))),
            rows=rows,
            columns=columns,
        )


def _rounded(rows: int, columns: int, setting: _Setting, device: torch.device) -> tuple[int, int]:
    # MKL, which multiplies float32 on a CPU, compiles nothing.
    if setting.exact or device.type != "cpu":
        return rows, columns
    return rounded_up(rows), rounded_up(columns)


def _block_mates(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the lengths of neighbours that share a block."""
    mates: list[int] = []
    for length in lengths:
        if mates and sum(mates) + length > _SHARED_BLOCK:
            yield mates
            mates = []
        mates.append(length)
    if mates:
        yield mates


@lru_cache(maxsize=64)
def _mask(
    lengths: Sequence[int],
    repeats: int,
    dtype: torch.dtype,
    device: torch.device,
    *,
    causal: bool,
    one_query: bool,
) -> torch.Tensor | None:
    """Return what keeps sequences apart and, if causal, tokens from what is behind them."""
    if len(lengths) == 1 and not (causal and lengths[0] > 1):
        return None
    owners = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    asking = torch.arange(len(lengths)) if one_query else owners
    hidden = asking.unsqueeze(1) != owners
    if causal:
        hidden |= torch.ones_like(hidden).triu(1)
    return (
        torch.zeros(hidden.shape, dtype=dtype)
        .masked_fill(hidden, float("-inf"))
        .repeat_interleave(repeats, 0)
        .to(device)
    )
