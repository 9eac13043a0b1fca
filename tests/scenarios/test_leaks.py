"""Nothing is left behind: no thread, no socket, no warning, closed or forgotten."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import threading
import warnings
import weakref
from typing import TYPE_CHECKING

import psutil
import pytest

import loopback
import tiny
from qwen_embed_integrations import Embedder, Reranker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("qwen-embed")]


def sockets_to(server: loopback.Server) -> int:
    """Return how many open sockets of this process lead to the server."""
    connections = psutil.Process(os.getpid()).net_connections("tcp")
    return sum(bool(each.raddr) and each.raddr.port == server.port and each.fd != -1 for each in connections)


@pytest.fixture
def quiet() -> Iterator[None]:
    """Fail on any warning, those raised where they cannot propagate included."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()  # what other tests left
    unraisable: list[str] = []
    before = sys.unraisablehook
    sys.unraisablehook = lambda what: unraisable.append(repr(what.exc_value))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
        gc.collect()
    sys.unraisablehook = before
    assert unraisable == []


def test_close_ends_threads_and_sockets(server: loopback.Server, embedder: Callable[..., Embedder]) -> None:
    before = len(threads())
    ours = embedder(batch_size=1)
    ours.embed_documents(["a", "b", "c"])
    assert len(threads()) > before
    assert sockets_to(server) > 0
    ours.close()
    assert loopback.soon(lambda: len(threads()) == before)
    assert sockets_to(server) == 0


@pytest.mark.usefixtures("quiet")
def test_a_forgotten_close_leaves_nothing_behind(server: loopback.Server) -> None:
    before = len(threads())
    gc.disable()  # so that a cycle would show
    try:
        ours = Embedder.served("Qwen/Qwen3-Embedding-0.6B", base_url=server.base_url)
        ours.embed_documents(["a", "b"])
        del ours
        assert loopback.soon(lambda: len(threads()) == before)
        assert sockets_to(server) == 0
    finally:
        gc.enable()


@pytest.mark.usefixtures("quiet")
def test_a_forgotten_reranker_leaves_nothing_behind(reranker_server: loopback.Server) -> None:
    before = len(threads())
    ours = Reranker.served("Qwen/Qwen3-Reranker-0.6B", base_url=reranker_server.base_url)
    ours.rerank("q", ["a", "b"])
    del ours
    gc.collect()
    assert loopback.soon(lambda: len(threads()) == before)
    assert sockets_to(reranker_server) == 0


@pytest.mark.usefixtures("quiet")
def test_a_forgotten_aclose_leaves_nothing_behind_when_the_loop_ends(server: loopback.Server) -> None:
    async def forgetful() -> None:
        ours = Embedder.served("Qwen/Qwen3-Embedding-0.6B", base_url=server.base_url)
        await ours.aembed_documents(["a", "b"])

    asyncio.run(forgetful())
    gc.collect()
    assert sockets_to(server) == 0


@pytest.mark.usefixtures("quiet")
def test_every_finished_loop_gives_back_its_sockets(server: loopback.Server, embedder: Callable[..., Embedder]) -> None:
    ours = embedder()
    for _ in range(3):
        asyncio.run(ours.aembed_documents(["a"]))
        assert sockets_to(server) == 0


def test_loops_closed_without_ceremony_do_not_add_up(
    server: loopback.Server, embedder: Callable[..., Embedder]
) -> None:
    ours = embedder()
    left: list[weakref.ref[asyncio.AbstractEventLoop]] = []
    for _ in range(6):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(ours.aembed_documents(["a"]))
        loop.close()
        left.append(weakref.ref(loop))
        del loop
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # asyncio's, about the transport its owner left open
            gc.collect()
    assert sum(reference() is not None for reference in left) <= 1
    assert sockets_to(server) <= 1


def test_an_object_that_is_closed_and_used_again_and_again_keeps_nothing(
    server: loopback.Server, embedder: Callable[..., Embedder]
) -> None:
    ours = embedder()
    pools = []
    for _ in range(5):
        ours.embed_documents(["a"])
        pools.append(weakref.ref(ours._engine.server.connection._threads.pool))
        ours.close()
    gc.collect()
    assert [pool() for pool in pools] == [None] * 5
    assert sockets_to(server) == 0


async def test_aclose_closes_this_loops_sockets_and_the_threads(
    server: loopback.Server, embedder: Callable[..., Embedder]
) -> None:
    before = len(threads())
    ours = embedder()
    await ours.aembed_documents(["a"])
    await asyncio.to_thread(ours.embed_documents, ["b"])
    assert sockets_to(server) == 2
    await ours.aclose()
    assert sockets_to(server) == 0
    assert await asyncio.to_thread(loopback.soon, lambda: len(threads()) == before)


def test_closing_twice_or_unused_is_harmless(embedder: Callable[..., Embedder]) -> None:
    ours = embedder()
    ours.close()
    ours.embed_documents(["a"])
    ours.close()
    ours.close()
    asyncio.run(ours.aclose())


def test_a_context_manager_closes(server: loopback.Server, embedder: Callable[..., Embedder]) -> None:
    with embedder() as ours:
        assert ours.embed_documents(["a"]).shape == (1, tiny.SIZE)
    assert sockets_to(server) == 0


def test_a_program_that_forgets_everything_ends_silently(server: loopback.Server) -> None:
    program = f"""
        import asyncio
        from qwen_embed_integrations import Embedder
        ours = Embedder.served("Qwen/Qwen3-Embedding-0.6B", base_url={server.base_url!r})
        ours.embed_documents(["a"])
        asyncio.run(ours.aembed_documents(["b"]))
        print("done")
    """
    ended = subprocess.run(  # noqa: S603 our own program
        [sys.executable, "-W", "error::ResourceWarning", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")
