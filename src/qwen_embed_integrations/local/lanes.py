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


class Lanes:
    """Threads that compute a pass each, started on first use.

    Args:
        compute: Turns token sequences into values, one row (or number) each. It is called in several threads at once.
        landed: Called in a lane's thread when it has ended a pass.

    Attributes:
        count: How many there are: as many as torch has threads, `_MOST` at most.
    """

    def __init__(self, compute: Callable[[Sequence[Any]], Any], landed: Callable[[], None]) -> None:
        self._cores = torch.get_num_threads()
        self.count = min(self._cores, _MOST)
        self._compute = compute
        self._landed = landed
        self._inbox: queue.SimpleQueue[tuple[Future[Float32], Sequence[Any]] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def launch(self, sequences: Sequence[Any]) -> Future[Float32]:
        """Hand a pass to a lane that is free, or to the first that will be."""
        if not self._threads:
            self._start()
        future: Future[Float32] = Future()
        self._inbox.put((future, sequences))
        return future

    def _start(self) -> None:
        set_up = threading.Barrier(self.count + 1)
        self._threads = [
            threading.Thread(target=self._run, args=(set_up,), name=f"qwen-embed-lane-{at}", daemon=True)
            for at in range(self.count)
        ]
        for thread in self._threads:
            thread.start()
        set_up.wait()
        # What a lane has set holds for threads that are still to ask too, such as the user's.
        torch.set_num_threads(self._cores)

    def _run(self, set_up: threading.Barrier) -> None:
        torch.get_num_threads()  # a thread that has never asked would take the number of all later
        torch.set_num_threads(self._cores // self.count)
        set_up.wait()
        while (arrived := self._inbox.get()) is not None:
            future, sequences = arrived
            try:
                future.set_result(self._compute(sequences))
            except BaseException as error:  # noqa: BLE001 it belongs to the callers who wait
                future.set_exception(error)
            del arrived, future, sequences
            self._landed()

    def close(self) -> None:
        """End the threads after the passes handed in so far."""
        for _ in self._threads:
            self._inbox.put(None)
        self._threads = []
