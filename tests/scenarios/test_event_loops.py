"""Event loops: bounded, ordered, cancellable, and as many of them as a program likes."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

import loopback
import tiny
from qwen_embed_integrations.errors import ServerAuthenticationError, ServerConnectionError
from qwen_embed_integrations.options import ServedOptions
from qwen_embed_integrations.served.connection import Connection
from qwen_embed_integrations.served.flow import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qwen_embed_integrations import Embedder
    from qwen_embed_integrations.served.flow import Flow

    Make = Callable[..., Embedder]


def texts_of(count: int) -> list[str]:
    return [f"text number {at}" for at in range(count)]


async def test_batches_come_back_in_order_whichever_ends_first(embedder: Make) -> None:
    texts = texts_of(30)

    def answer(batch: list[str]) -> None:
        time.sleep(0.05 if "text number 0" in batch else 0)

    found = await embedder(answer, batch_size=1).aembed_documents(texts)
    np.testing.assert_allclose(found, tiny.vectors(texts), atol=1e-6)


async def test_no_more_requests_are_in_flight_than_allowed(server: loopback.Server, embedder: Make) -> None:
    server.latency = 0.02
    await embedder(batch_size=1, max_concurrency=3).aembed_documents(texts_of(30))
    assert server.max_in_flight == 3


def test_several_event_loops_one_after_another(embedder: Make) -> None:
    ours = embedder()
    for at in range(4):
        found = asyncio.run(ours.aembed_documents([f"loop {at}"]))
        np.testing.assert_allclose(found, tiny.vectors([f"loop {at}"]), atol=1e-6)


def test_several_event_loops_at_the_same_time(server: loopback.Server, embedder: Make) -> None:
    server.latency = 0.01
    ours = embedder(batch_size=1, max_concurrency=2)

    def work(number: int) -> bool:
        texts = [f"{number} {at}" for at in range(6)]
        return np.allclose(asyncio.run(ours.aembed_documents(texts)), tiny.vectors(texts), atol=1e-6)

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(6)))
    assert server.max_in_flight <= 6 * 2


def test_threads_and_an_event_loop_can_share_an_object(embedder: Make) -> None:
    ours = embedder(batch_size=1)

    async def both() -> bool:
        one, two = await asyncio.gather(
            asyncio.to_thread(ours.embed_documents, texts_of(5)), ours.aembed_documents(texts_of(5))
        )
        return np.array_equal(one, two)

    assert asyncio.run(both())


def test_a_call_from_inside_a_running_loop_works_without_await(embedder: Make) -> None:
    async def notebook() -> tuple[int, ...]:
        return embedder().embed_documents(["a"]).shape

    assert asyncio.run(notebook()) == (1, tiny.SIZE)


async def test_flows_are_started_only_a_short_way_ahead(server: loopback.Server) -> None:
    connection = Connection(ServedOptions(base_url=server.base_url, max_concurrency=2, timeout=5, max_retries=0))
    begun = 0

    def flow() -> Flow[int]:
        yield Request("embeddings", {"input": ["a"]})
        return 0

    def flows() -> Iterator[Flow[int]]:
        nonlocal begun
        for _ in range(1000):
            begun += 1
            yield flow()

    results = connection.arun(flows())
    for taken in range(1, 21):
        await anext(results)
        assert begun - taken <= 2 * 2
    await results.aclose()
    await connection.aclose()


async def test_cancelling_a_call_cancels_its_outstanding_requests(server: loopback.Server, embedder: Make) -> None:
    server.latency = 0.05
    ours = embedder(batch_size=1, max_concurrency=4)
    before = asyncio.all_tasks()
    call = asyncio.ensure_future(ours.aembed_documents(texts_of(200)))
    assert await asyncio.to_thread(loopback.soon, lambda: len(server.posted()) >= 8)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert asyncio.all_tasks() == before
    sent = len(server.posted())
    await asyncio.sleep(0.15)
    assert len(server.posted()) <= sent + 4  # what was on its way already


async def test_a_call_can_be_given_a_time_limit(server: loopback.Server, embedder: Make) -> None:
    server.latency = 4
    start = time.perf_counter()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(embedder().aembed_documents(["a"]), 0.05)
    assert time.perf_counter() - start < 3


async def test_an_object_works_after_a_cancelled_call(server: loopback.Server, embedder: Make) -> None:
    server.latency = 0.05
    ours = embedder(batch_size=1, max_concurrency=2)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(ours.aembed_documents(texts_of(20)), 0.02)
    server.latency = 0
    np.testing.assert_allclose(await ours.aembed_documents(texts_of(4)), tiny.vectors(texts_of(4)), atol=1e-6)


async def test_the_first_error_cancels_the_other_requests(server: loopback.Server, embedder: Make) -> None:
    before = asyncio.all_tasks()
    with pytest.raises(ServerAuthenticationError):
        await embedder(lambda _: (401, {}, {}), batch_size=1, max_concurrency=2).aembed_documents(texts_of(500))
    assert asyncio.all_tasks() == before
    assert len(server.posted()) <= 5


async def test_trouble_with_the_answer_cancels_the_other_requests_before_it_is_raised(
    server: loopback.Server, embedder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = embedder(batch_size=1, max_concurrency=2)
    monkeypatch.setattr(ours, "_finish", lambda _rows: 1 / 0)
    before = asyncio.all_tasks()
    server.latency = 0.02
    with pytest.raises(ZeroDivisionError):
        await ours.aembed_documents(texts_of(50))
    assert asyncio.all_tasks() == before


async def test_closing_while_another_task_embeds_gives_it_a_typed_error(
    server: loopback.Server, embedder: Make
) -> None:
    server.latency = 0.05
    ours = embedder(batch_size=1, max_concurrency=2)
    call = asyncio.ensure_future(ours.aembed_documents(texts_of(100)))
    assert await asyncio.to_thread(loopback.soon, lambda: len(server.posted()) >= 4)
    await ours.aclose()
    with pytest.raises(ServerConnectionError):
        await call


async def test_an_object_can_be_used_again_after_aclose(embedder: Make) -> None:
    async with embedder() as ours:
        await ours.aembed_documents(["a"])
    assert (await ours.aembed_documents(["b"])).shape == (1, tiny.SIZE)
    await ours.aclose()


async def test_sync_and_async_give_the_same_numbers(embedder: Make) -> None:
    ours = embedder(batch_size=3)
    queries, documents = texts_of(7), texts_of(8)
    np.testing.assert_array_equal(
        await ours.aembed_queries(queries), await asyncio.to_thread(ours.embed_queries, queries)
    )
    np.testing.assert_array_equal(
        await ours.aembed_documents(documents), await asyncio.to_thread(ours.embed_documents, documents)
    )


def test_a_loop_in_a_background_thread_serves_the_main_one(embedder: Make) -> None:
    ours = embedder()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        found = asyncio.run_coroutine_threadsafe(ours.aembed_documents(["a"]), loop).result(10)
        assert found.shape == (1, tiny.SIZE)
        asyncio.run_coroutine_threadsafe(ours.aclose(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
