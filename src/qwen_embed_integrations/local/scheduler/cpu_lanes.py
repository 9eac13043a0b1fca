"""Passes side by side on a CPU, each on some of the cores.

The threads of one matrix product wait for the slowest of them, a thousand times a pass. Passes that run apart wait for
each other only at the end of all work.
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_embed_integrations.local.sequences import Compute, TokenBatch
    from qwen_embed_integrations.vectors import Float32

    Inbox = queue.SimpleQueue[tuple[Future[Float32], TokenBatch] | None]

# Each lane holds the activations of a pass in memory; with more cores than this, a lane has several.
_MAX_LANES = 8
# A thread that asks torch for its number of threads for the first time while lanes set theirs would get a lane's.
_setting = threading.Lock()


def pin_thread_count() -> int:
    """Return how many threads torch computes with for this thread, and keep it so whatever other threads set."""
    with _setting:
        return torch.get_num_threads()


LANE_NAME = "qwen-embed-lane-"
"""What the names of the lanes' threads begin with."""


class Lanes:
    """Threads that compute one pass each, started on first use.

    Args:
        compute: The model. It is called in several threads at once, and must give its values at once.
        on_finished: Called in a lane's thread when it has finished a pass.

    Attributes:
        count: How many there are: as many as torch has threads, `_MAX_LANES` at most.
    """

    def __init__(self, compute: Compute, on_finished: Callable[[], None]) -> None:
        self._cores = pin_thread_count()
        self.count = min(self._cores, _MAX_LANES)
        self._compute = compute
        self._on_finished = on_finished
        self._inbox: Inbox = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def launch(self, batch: TokenBatch) -> Future[Float32]:
        """Hand a pass to a lane that is free, or to the first that will be.

        Raises:
            RuntimeError: If no threads can be started.
        """
        if not self._threads:
            with _setting:
                self._threads = self._start()
        future: Future[Float32] = Future()
        self._inbox.put((future, batch))
        return future

    def _start(self) -> list[threading.Thread]:
        set_up = threading.Barrier(self.count + 1)
        defaults: list[int] = []
        started = []
        try:
            for lane in range(self.count):
                # Together they have all cores.
                cores = (self._cores + lane) // self.count
                thread = threading.Thread(
                    target=self._run, args=(cores, defaults, set_up), name=f"{LANE_NAME}{lane}", daemon=True
                )
                thread.start()
                started.append(thread)
            set_up.wait()
            set_up.wait()
        except BaseException:
            set_up.abort()
            raise
        # What a lane has set would hold for threads that have not asked yet too, such as the user's.
        torch.set_num_threads(defaults[0])
        return started

    def _run(self, cores: int, defaults: list[int], set_up: threading.Barrier) -> None:
        try:
            # The number that other threads have; asked for later, it would replace the lane's.
            defaults.append(torch.get_num_threads())
            set_up.wait()
            torch.set_num_threads(cores)
            set_up.wait()
        except threading.BrokenBarrierError:
            return
        while (received := self._inbox.get()) is not None:
            future, batch = received
            try:
                future.set_result(self._compute(batch))  # type: ignore[arg-type]  # a CPU gives no pending values
            except BaseException as error:  # noqa: BLE001 it belongs to the callers who wait
                future.set_exception(error)
            del received, future, batch
            self._on_finished()

    def close(self) -> None:
        """End the threads after the passes handed in so far, and wait for them."""
        for _ in self._threads:
            self._inbox.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []
