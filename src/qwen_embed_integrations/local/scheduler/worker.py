"""Threads that work for all callers: one tokenizes, one has passes computed, and calls that arrive together share them.

Callers in threads and event loops hand in jobs and wait for futures. A job never waits for others to join it: while one
pass is computed, the next calls are tokenized and gather, and the next pass takes them together. Short jobs go first in
both threads, so a query does not wait behind an index build.
"""

from __future__ import annotations

import atexit
import queue
import threading
import weakref
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from qwen_embed_integrations.errors import ClosedError, ModelOutputError
from qwen_embed_integrations.local.device import release_memory
from qwen_embed_integrations.local.scheduler.batching import Job
from qwen_embed_integrations.local.scheduler.cpu_lanes import LANE_NAME, Lanes, pin_thread_count
from qwen_embed_integrations.local.scheduler.passes import Passes, TokenBudget
from qwen_embed_integrations.local.scheduler.tokenize_queue import Request, TokenizeQueue
from qwen_embed_integrations.local.sequences import Capabilities

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qwen_embed_integrations.local.scheduler.batching import Answer
    from qwen_embed_integrations.local.sequences import Compute, Tokens

    Inbox = queue.SimpleQueue[Any]


# What the computing thread is sent when a lane has finished a pass.
_PASS_FINISHED = object()
_running: weakref.WeakKeyDictionary[threading.Thread, Inbox] = weakref.WeakKeyDictionary()
_exiting = threading.Event()


@atexit.register
def _end_all() -> None:
    # A thread that computes while the interpreter is taken down dies inside torch, and the process with it.
    _exiting.set()
    for thread, inbox in list(_running.items()):
        inbox.put(None)
        thread.join()


class Worker:
    """Tokenizes and computes jobs in threads of its own, started on first use.

    Args:
        compute: The model.
        token_budget: Tokens in one call of `compute`, unless a single sequence has more. Halved where memory runs out.
        capabilities: How `compute` goes about a batch.
    """

    def __init__(self, compute: Compute, token_budget: int, capabilities: Capabilities | None = None) -> None:
        self._compute: Compute | None = compute
        self._budget = TokenBudget(token_budget)
        self._capabilities = capabilities or Capabilities()
        self._lock = threading.Lock()
        self._inbox: Inbox | None = None
        self._threads: list[threading.Thread] = []
        self._finalizer: weakref.finalize[..., Worker] | None = None
        self._freed: Future[None] = Future()

    @property
    def token_budget(self) -> int:
        """Tokens in one pass by now."""
        return self._budget.tokens

    def submit(self, tokenize: Callable[[Sequence[str]], Tokens], texts: Sequence[str]) -> Future[Answer]:
        """Hand in a job.

        Args:
            tokenize: Makes token sequences of some of the texts, in order. Called in one thread for all jobs, since
                tokenizers are not thread-safe.
            texts: What to tokenize and compute, at least one.

        Returns:
            The answer to come, or the error that `tokenize` or `compute` raised.

        Raises:
            ClosedError: If the worker is closed.
        """
        if _exiting.is_set():
            raise ModelOutputError("The interpreter is ending, and the local model with it.")
        future: Future[Answer] = Future()
        request = Request(Job(future, len(texts), shares_prefix=self._capabilities.shares_prefix), tokenize, texts)
        with self._lock:
            if self._compute is None:
                raise ClosedError(
                    "This local model is closed and its memory freed. Load it anew with Embedder.local or "
                    "Reranker.local, and close it after its last use."
                )
            # A forked child inherits the object but not its threads.
            if self._inbox is not None and not all(thread.is_alive() for thread in self._threads):
                self._inbox.put(None)
                self._inbox = None
            self._inbox = self._inbox or self._start(self._compute)
            self._inbox.put(request)
        return future

    def close(self) -> Future[None]:
        """Refuse further jobs, and free the model when those handed in so far are answered.

        Returns:
            Done when the model's memory is free.
        """
        with self._lock:
            self._compute = None
            if self._finalizer is not None:
                self._finalizer.detach()
            # A forked child inherits neither the threads nor an end that they had begun.
            if self._inbox is not None and self._threads[-1].is_alive():
                self._inbox.put(None)
            elif not self._freed.done():
                self._freed.set_result(None)
            return self._freed

    def _start(self, compute: Compute) -> Inbox:
        inbox: Inbox = queue.SimpleQueue()
        tokenized: Inbox = queue.SimpleQueue()
        passes = Passes(compute, self._budget, self._capabilities.padded)
        if self._capabilities.side_by_side:
            passes.lanes = Lanes(compute, partial(tokenized.put, _PASS_FINISHED))
        self._freed = Future()
        old_tokenize, old_compute = self._threads or (None, None)
        try:
            self._threads = [
                _run("qwen-embed-tokenize", inbox, partial(_tokenize, inbox, tokenized), old_tokenize),
                _run("qwen-embed-compute", tokenized, partial(_compute, tokenized, passes, self._freed), old_compute),
            ]
        except RuntimeError:  # no more threads; the first may have started
            inbox.put(None)
            raise
        if self._finalizer is not None:
            self._finalizer.detach()
        self._finalizer = weakref.finalize(self, inbox.put, None)
        return inbox


def in_worker_thread() -> bool:
    """Tell whether this thread is a worker's or one of its lanes, which cannot wait for its own end."""
    thread = threading.current_thread()
    return thread in _running or thread.name.startswith(LANE_NAME)


def _run(name: str, inbox: Inbox, work: Callable[[], None], after: threading.Thread | None) -> threading.Thread:
    def run() -> None:
        # No two threads may tokenize, or use a device's memory, at once.
        if after is not None:
            after.join()
        work()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    _running[thread] = inbox
    return thread


def _tokenize(inbox: Inbox, tokenized: Inbox) -> None:
    waiting = TokenizeQueue(tokenized.put)
    is_open = True
    try:
        while (waiting.requests or is_open) and not _exiting.is_set():
            is_open &= _receive(inbox, waiting.requests.append, wait=not waiting.requests)
            try:
                waiting.step()
            except BaseException as error:  # noqa: BLE001 a thread that died would leave all callers waiting
                waiting.abandon(error)
        _receive(inbox, waiting.requests.append, wait=False)
        waiting.abandon(_interpreter_ended())
    finally:
        tokenized.put(None)


def _compute(tokenized: Inbox, passes: Passes, freed: Future[None]) -> None:
    def add(received: list[tuple[Job, Tokens]] | object) -> None:
        if isinstance(received, list):
            for job, tokens in received:
                passes.add(job, tokens)

    pin_thread_count()
    is_open = True
    try:
        while (passes.busy or is_open) and not _exiting.is_set():
            is_open &= _receive(tokenized, add, wait=passes.must_wait)
            try:
                passes.step()
            except BaseException as error:  # noqa: BLE001 a thread that died would leave all callers waiting
                passes.abandon(error)
        while is_open:  # what the other thread still sends before it ends
            is_open = _receive(tokenized, add, wait=True)
        passes.abandon(_interpreter_ended())
    finally:
        try:
            passes.close()
            release_memory()
        finally:
            freed.set_result(None)


def _receive(inbox: Inbox, add: Callable[[Any], None], *, wait: bool) -> bool:
    """Take everything that has arrived; tell whether more may come."""
    is_open = True
    while wait or not inbox.empty():
        wait = False
        received = inbox.get()
        if received is None:
            is_open = False
        else:
            add(received)
    return is_open


def _interpreter_ended() -> ModelOutputError:
    return ModelOutputError("The interpreter ended before this was computed.")
