"""Texts go to the worker in windows, no more than two ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qwen_embed_integrations.local.scheduler.windows import Windows
from qwen_embed_integrations.local.scheduler.worker import Worker
from qwen_embed_integrations.local.sequences import TokenBatch, Tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def compute(batch: TokenBatch) -> np.ndarray:
    return np.array([len(each) for each in batch.sequences], np.float32)


def tokenize(texts: Sequence[str]) -> Tokens:
    return Tokens([[1] * len(text.split()) for text in texts], [])


def test_windows_come_in_order_and_cover_all_texts() -> None:
    windows = Windows(Worker(compute, 1000))
    texts = ["a " * (at % 9 + 1) for at in range(5000)]
    batches = [*windows.run(texts, tokenize)]
    assert [len(batch.positions) for batch in batches] == [2048, 2048, 904]
    assert [at for batch in batches for at in batch.positions] == [*range(5000)]
    assert np.concatenate([batch.values for batch in batches]).tolist() == [at % 9 + 1 for at in range(5000)]
    assert windows.usage.tokens == sum(at % 9 + 1 for at in range(5000))


def test_long_texts_make_small_windows() -> None:
    windows = Windows(Worker(compute, 1000))
    counts = [len(batch.positions) for batch in windows.run(["a" + " " * 99_999] * 50, tokenize)]
    assert counts == [20, 20, 10]


def test_texts_are_read_no_more_than_two_windows_ahead() -> None:
    read = 0

    def texts() -> Iterator[str]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield "a" + " " * 499_999

    seen = 0
    for batch in Windows(Worker(compute, 1000)).run(texts(), tokenize):
        seen += len(batch.positions)
        assert read - seen <= 8


async def test_async_callers_get_the_same_windows() -> None:
    windows = Windows(Worker(compute, 1000))
    counts = [len(batch.positions) async for batch in windows.arun(["a"] * 5000, tokenize)]
    assert counts == [2048, 2048, 904]
