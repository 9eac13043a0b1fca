"""Passes side by side on a CPU, each on cores of its own.

All threads of a product wait for the slowest, a thousand times a pass. Passes that run apart wait for each other only
at the end of all work.
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qwen_embed_integrations.vectors import Float32

# Each lane holds what a pass computes with in memory; with more cores than this, lanes have several.
_MOST = 8
# While lanes set their number of threads, a thread that has never asked torch for its own would take theirs.
_setting = threading.Lock()


def own_threads() -> int:
    """Return how many threads torch takes for what this thread computes; from then on they are this thread's own."""
    with _setting:
        return torch.get_num_threads()


class Lanes:
    """Threads that compute a pass each, started on first use.

    Args:
        compute: Turns token sequences into values, one row (or number) each. It is called in several threads at once.
        landed: Called in a lane's thread when it has ended a pass.

    Attributes:
        count: How many there are: as many as torch has threads, `_MOST` at most.
    """

    def __init__(self, compute: Callable[[Sequence[Any]], Any], landed: Callable[[], None]) -> None:
        self._cores = own_threads()
        self.count = min(self._cores, _MOST)
        self._compute = compute
        self._landed = landed
        self._inbox: queue.SimpleQueue[tuple[Future[Float32], Sequence[Any]] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def launch(self, sequences: Sequence[Any]) -> Future[Float32]:
        """Hand a pass to a lane that is free, or to the first that will be.

        Raises:
            RuntimeError: If no threads can be started.
        """
        if not self._threads:
            with _setting:
                self._threads = self._start()
        future: Future[Float32] = Future()
        self._inbox.put((future, sequences))
        return future

    def _start(self) -> list[threading.Thread]:
        set_up = threading.Barrier(self.count + 1)
        found: list[int] = []
        started = []
        try:
            for at in range(self.count):
                # Together they have all cores.
                own = (self._cores + at) // self.count
                thread = threading.Thread(
                    target=self._run, args=(own, found, set_up), name=f"qwen-embed-lane-{at}", daemon=True
                )
                thread.start()
                started.append(thread)
            set_up.wait()
            set_up.wait()
        except BaseException:
            set_up.abort()
            raise
        # What a lane has set holds for threads that are still to ask too, such as the user's.
        torch.set_num_threads(found[0])
        return started

    def _run(self, own: int, found: list[int], set_up: threading.Barrier) -> None:
        try:
            found.append(torch.get_num_threads())  # the number of all threads; asked later, it would replace the own
            set_up.wait()
            torch.set_num_threads(own)
            set_up.wait()
        except threading.BrokenBarrierError:
            return
        while (arrived := self._inbox.get()) is not None:
            future, sequences = arrived
            try:
                future.set_result(self._compute(sequences))
            except BaseException as error:  # noqa: BLE001 it belongs to the callers who wait
                future.set_exception(error)
            del arrived, future, sequences
            self._landed()

    def close(self) -> None:
        """End the threads after the passes handed in so far, and wait for them."""
        for _ in self._threads:
            self._inbox.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []
