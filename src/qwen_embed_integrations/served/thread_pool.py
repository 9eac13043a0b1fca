"""Threads for a connection: started when there is work, and no reason for the interpreter to wait at its end.

Not the standard library's ThreadPoolExecutor: the interpreter waits for its threads when it exits, so Ctrl-C ended a
program only after the last reply; and a thread that cannot be started leaves its work in the queue and raises.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class PoolClosedError(Exception):
    """The pool was closed before the work was handed in."""


class ThreadPool:
    """At most so many threads, which take work in order."""

    def __init__(self, max_threads: int, *, name: str) -> None:
        self._max_threads = max_threads
        self._name = name
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._threads = self._idle = 0
        self._closed = False
        self._changed = threading.Condition()

    def submit(self, work: Callable[[], T], *, first: bool = False) -> Future[T]:
        """Hand in work.

        Args:
            work: What to call.
            first: Whether it goes before all that waits.

        Returns:
            Its result, in time; cancelled if the pool is closed before its turn.

        Raises:
            PoolClosedError: If the pool is closed.
            RuntimeError: If not one thread can be started; nothing was handed in then. Where some run, those do all.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise PoolClosedError
            if self._idle <= len(self._waiting) and self._threads < self._max_threads:
                self._start_thread()
            if first:
                self._waiting.appendleft((future, work))
            else:
                self._waiting.append((future, work))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Drop what waits, and let the threads end with what they are doing. Waits for nothing."""
        with self._changed:
            self._closed = True
            dropped = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        for future, _ in dropped:
            future.cancel()
            future.set_running_or_notify_cancel()  # or whoever waits for several at once is not told

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._run, name=f"{self._name}_{self._threads}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if self._threads == 0:
                raise
        else:
            self._threads += 1

    def _run(self) -> None:
        # A call of its own for each piece of work, so that an idle thread keeps nothing of the last one alive.
        while self._run_next():
            pass

    def _run_next(self) -> bool:
        with self._changed:
            self._idle += 1
            while not self._waiting and not self._closed:
                self._changed.wait()
            self._idle -= 1
            if not self._waiting:
                self._threads -= 1
                return False
            future, work = self._waiting.popleft()
        if future.set_running_or_notify_cancel():
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 it is raised where the result is asked for
                future.set_exception(error)
            else:
                future.set_result(result)
        return True
