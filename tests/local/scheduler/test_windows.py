"""Texts go to the worker in windows, no more than two ahead, and closing waits for what is in flight."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from qwen_embed_integrations.errors import ClosedError
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


class Held:
    """A model whose passes wait until they may end."""

    def __init__(self) -> None:
        self.computing, self.may_end = threading.Event(), threading.Event()

    def __call__(self, batch: TokenBatch) -> np.ndarray:
        self.computing.set()
        assert self.may_end.wait(timeout=20)
        return compute(batch)


def test_a_call_that_is_ahead_when_it_closes_has_those_windows_and_then_an_error() -> None:
    model = Held()
    windows = Windows(Worker(model, 1000))
    batches = windows.run(["a"] * 7000, tokenize)
    model.may_end.set()
    assert len(next(batches).positions) == 2048
    windows.close()
    assert len(next(batches).positions) == 2048
    with pytest.raises(ClosedError):
        next(batches)


async def test_closing_waits_for_the_pass_in_flight_and_not_on_the_event_loop() -> None:
    model = Held()
    windows = Windows(Worker(model, 1000))
    call = asyncio.create_task(anext(windows.arun(["a"], tokenize)))
    assert await asyncio.to_thread(model.computing.wait, 20)
    closing = asyncio.create_task(windows.aclose())
    cancelled = asyncio.create_task(windows.aclose())
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    assert not closing.done()
    model.may_end.set()
    await asyncio.wait_for(closing, timeout=20)
    assert (await call).values.tolist() == [1]
    windows.close()


def test_closing_in_a_thread_of_the_worker_does_not_wait_for_itself() -> None:
    worker = Worker(compute, 1000)
    windows = Windows(worker)
    worker.submit(tokenize, ["a"]).add_done_callback(lambda _: windows.close())
    for thread in worker._threads:
        thread.join(timeout=20)
        assert not thread.is_alive()
