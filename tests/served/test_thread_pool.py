"""The pool: work in order on few threads, which end with it, and are no reason for a program to wait."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

import pytest

import loopback
from qwen_embed_integrations.served.thread_pool import PoolClosedError, ThreadPool

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "pool-under-test"


def its_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(NAME)]


@pytest.fixture
def pool() -> Iterator[ThreadPool]:
    made = ThreadPool(2, name=NAME)
    yield made
    made.close()
    assert loopback.soon(lambda: its_threads() == [])


def occupy(pool: ThreadPool, count: int) -> threading.Event:
    """Keep so many threads busy until the event is set."""
    release, begun = threading.Event(), threading.Barrier(count + 1)

    def work() -> None:
        begun.wait(30)
        release.wait(30)

    for _ in range(count):
        pool.submit(work)
    begun.wait(30)
    return release


def test_work_is_done_in_threads_and_its_result_or_error_comes_back(pool: ThreadPool) -> None:
    assert pool.submit(lambda: threading.current_thread().name).result(30).startswith(NAME)
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 / 0).result(30)


def test_no_more_threads_are_started_than_are_needed_or_allowed(pool: ThreadPool) -> None:
    for _ in range(5):
        pool.submit(int).result(30)
        assert loopback.soon(lambda: pool._idle == 1)
    assert len(its_threads()) == 1
    release = occupy(pool, 2)
    waiting = [pool.submit(int) for _ in range(20)]
    assert len(its_threads()) == 2
    release.set()
    assert [future.result(30) for future in waiting] == [0] * 20


def test_work_is_taken_in_order_but_for_what_goes_first(pool: ThreadPool) -> None:
    pool._max_threads = 1
    release, taken = occupy(pool, 1), []
    futures = [pool.submit(lambda name=name: taken.append(name)) for name in "abc"]
    futures.append(pool.submit(lambda: taken.append("first"), first=True))
    release.set()
    for future in futures:
        future.result(30)
    assert taken == ["first", "a", "b", "c"]


def test_closing_drops_what_waits_and_lets_go_of_what_runs(pool: ThreadPool) -> None:
    release = occupy(pool, 2)
    waiting = pool.submit(int)
    pool.close()
    with pytest.raises(CancelledError):
        waiting.result(30)
    with pytest.raises(PoolClosedError):
        pool.submit(int)
    release.set()
    assert loopback.soon(lambda: its_threads() == [])


def test_work_that_was_cancelled_is_not_done(pool: ThreadPool) -> None:
    release, done = occupy(pool, 2), []
    future = pool.submit(lambda: done.append(1))
    assert future.cancel()
    release.set()
    pool.submit(int).result(30)
    assert done == []


def test_an_idle_thread_keeps_nothing_of_the_last_work_alive(pool: ThreadPool) -> None:
    class Thing:
        pass

    def work(thing: Thing) -> Thing:
        return thing

    thing = Thing()
    gone = weakref.ref(thing)
    pool.submit(lambda thing=thing: work(thing)).result(30)
    del thing
    gc.collect()
    assert loopback.soon(lambda: gone() is None)


def test_its_threads_do_not_hold_the_interpreter(pool: ThreadPool) -> None:
    pool.submit(int).result(30)
    assert all(thread.daemon for thread in its_threads())


def refuse_threads(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let the system have no more than so many threads for pools."""
    start, left = threading.Thread.start, iter(range(after))

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith(NAME) and next(left, None) is None:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_work_that_no_thread_can_be_started_for_is_refused_and_not_kept(
    pool: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []
    with monkeypatch.context() as patch:
        refuse_threads(patch, after=0)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            pool.submit(lambda: done.append(1))
    pool.submit(lambda: done.append(2)).result(30)
    assert done == [2]


def test_the_threads_that_could_be_started_do_all_the_work(pool: ThreadPool, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_threads(monkeypatch, after=1)
    futures = [pool.submit(lambda number=number: number) for number in range(10)]
    assert [future.result(30) for future in futures] == list(range(10))
    assert len(its_threads()) <= 1
