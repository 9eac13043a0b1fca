"""However many callers share an object, or have one each, nothing is left of them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import psutil

import loopback
import tiny
from qwen_embed_integrations import Embedder
from qwen_embed_integrations.errors import ServerConnectionError

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[..., Embedder]

BOUND = 4


def our_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("qwen-embed")}


def sockets_to(server: loopback.Server) -> int:
    """Return how many open sockets of this process lead to the server."""
    connections = psutil.Process().net_connections("tcp")
    return sum(bool(each.raddr) and each.raddr.port == server.port and each.fd != -1 for each in connections)


def test_200_threads_use_and_leave_no_more_than_the_bound(server: loopback.Server, embedder: Make) -> None:
    server.latency = 0.002
    ours = embedder(batch_size=2, max_concurrency=BOUND)
    before = our_threads()

    def work(number: int) -> bool:
        texts = [f"{number} {at}" for at in range(3)]
        return np.allclose(ours.embed_documents(texts), tiny.vectors(texts), atol=1e-6)

    with ThreadPoolExecutor(200) as callers:
        assert all(callers.map(work, range(200)))
    assert server.max_in_flight <= BOUND
    assert server.connections <= BOUND
    assert ours.usage.requests == 400
    assert len(our_threads() - before) <= BOUND
    assert sockets_to(server) <= BOUND
    ours.close()
    assert loopback.soon(lambda: our_threads() <= before)
    assert sockets_to(server) == 0


async def test_2000_tasks_use_and_leave_no_more_than_the_bound(server: loopback.Server, embedder: Make) -> None:
    ours = embedder(max_concurrency=BOUND)
    before, tasks = our_threads(), asyncio.all_tasks()
    found = await asyncio.gather(*(ours.aembed_documents([f"task {at}"]) for at in range(2000)))
    np.testing.assert_allclose(np.concatenate(found), tiny.vectors([f"task {at}" for at in range(2000)]), atol=1e-6)
    assert server.max_in_flight <= BOUND
    assert server.connections <= 2 * BOUND  # an idle one may have to be replaced
    assert sockets_to(server) <= BOUND
    assert asyncio.all_tasks() == tasks
    await ours.aclose()
    assert sockets_to(server) == 0
    assert our_threads() <= before


def test_50_threads_with_an_event_loop_each_leave_nothing(server: loopback.Server, embedder: Make) -> None:
    ours = embedder(batch_size=1, max_concurrency=2)

    def work(number: int) -> bool:
        texts = [f"{number} {at}" for at in range(3)]
        return np.allclose(asyncio.run(ours.aembed_documents(texts)), tiny.vectors(texts), atol=1e-6)

    with ThreadPoolExecutor(50) as callers:
        assert all(callers.map(work, range(50)))
    assert sockets_to(server) == 0


def test_60_callers_with_an_object_each_leave_nothing(server: loopback.Server, embedder: Make) -> None:
    embedder()  # makes the server answer as the tiny model
    before = our_threads()

    def work(number: int) -> bool:
        ours = Embedder.served("tiny", base_url=server.base_url, profile=tiny.PROFILE)
        return np.allclose(ours.embed_documents([str(number)]), tiny.vectors([str(number)]), atol=1e-6)

    with ThreadPoolExecutor(20) as callers:
        assert all(callers.map(work, range(60)))
    assert loopback.soon(lambda: our_threads() <= before)
    assert loopback.soon(lambda: sockets_to(server) == 0)


def test_closing_under_200_threads_gives_each_a_result_or_a_typed_error(
    server: loopback.Server, embedder: Make
) -> None:
    server.latency = 0.01
    ours = embedder(batch_size=1, max_concurrency=BOUND)
    before = our_threads()

    def work(number: int) -> str:
        try:
            ours.embed_documents([f"{number} {at}" for at in range(3)])
        except ServerConnectionError:
            return "refused"
        return "done"

    with ThreadPoolExecutor(200) as callers:
        calls = [callers.submit(work, number) for number in range(200)]
        assert loopback.soon(lambda: len(server.posted()) > 20)
        ours.close()
        outcomes = [call.result(60) for call in calls]
    assert "refused" in outcomes
    ours.close()  # late callers opened it anew
    assert loopback.soon(lambda: our_threads() <= before)
    assert sockets_to(server) == 0


def test_a_program_of_many_forgetful_callers_ends_silently_in_development_mode(server: loopback.Server) -> None:
    program = f"""
        import asyncio
        from concurrent.futures import ThreadPoolExecutor
        from qwen_embed_integrations import Embedder

        ours = Embedder.served("Qwen/Qwen3-Embedding-0.6B", base_url={server.base_url!r}, batch_size=1)

        async def many():
            asyncio.get_running_loop().slow_callback_duration = 60  # development mode tells of slow machines too
            await asyncio.gather(*(ours.aembed_documents([str(at)]) for at in range(100)))
            left = [asyncio.ensure_future(ours.aembed_documents([str(at), "x"])) for at in range(20)]
            await asyncio.sleep(0.01)  # and the loop ends in the middle of these

        with ThreadPoolExecutor(50) as callers:
            list(callers.map(lambda at: ours.embed_documents([str(at)]), range(100)))
            list(callers.map(lambda _: asyncio.run(many()), range(3)))
        Embedder.served("Qwen/Qwen3-Embedding-0.6B", base_url={server.base_url!r}).embed_documents(["dropped"])
        print("done")
    """
    ended = subprocess.run(  # noqa: S603 our own program
        [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")
