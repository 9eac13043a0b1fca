"""Threads that work for all callers: one tokenizes, one has passes computed, and calls that arrive together share them.

Callers in threads and event loops hand in jobs and wait for futures. Nothing ever waits for company: while one pass
computes, the next calls are tokenized and gather, and the next pass takes them together. Short jobs go first in both
threads, so a query does not wait behind an index build.
"""

from __future__ import annotations

import atexit
import queue
import threading
import weakref
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from qwen_embed_integrations.errors import ModelOutputError
from qwen_embed_integrations.local.scheduler.batching import Job
from qwen_embed_integrations.local.scheduler.cpu_lanes import Lanes, own_threads
from qwen_embed_integrations.local.scheduler.passes import Passes, TokenBudget
from qwen_embed_integrations.local.scheduler.tokenize_queue import Request, Tokenizing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qwen_embed_integrations.local.checkpoint.tokenizer import Tokens
    from qwen_embed_integrations.local.scheduler.batching import Answer
    from qwen_embed_integrations.vectors import Float32

    class Pending(Protocol):
        """Values that a device is still computing."""

        def result(self) -> Float32:
            """Wait for them."""
            ...

    # Sequences are lists of token ids, or anything else with as many tokens as it has length.
    Compute = Callable[[Sequence[Any]], Float32 | Pending]
    Inbox = queue.SimpleQueue[Any]


# What the computing thread is sent when a pass has ended beside it.
_LANDED = object()
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
        compute: Turns token sequences into values, one row (or number) each: at once, or as something whose `result()`
            waits for them, so that the next pass can be launched meanwhile.
        token_budget: Tokens in one call of `compute`, unless a single sequence has more. Halved where memory runs out.
        padded: Whether `compute` pads to the longest sequence, so that padding counts too.
        shares_prefix: Whether `compute` computes what all its sequences begin with once, so that it counts once.
        side_by_side: Whether `compute` may be called in several threads at once, on some of the cores each.
    """

    def __init__(
        self,
        compute: Compute,
        token_budget: int,
        *,
        padded: bool = False,
        shares_prefix: bool = False,
        side_by_side: bool = False,
    ) -> None:
        self._compute = compute
        self._budget = TokenBudget(token_budget)
        self._padded = padded
        self._shares_prefix = shares_prefix
        self._side_by_side = side_by_side
        self._lock = threading.Lock()
        self._inbox: Inbox | None = None
        self._threads: list[threading.Thread] = []

    def submit(self, tokenize: Callable[[Sequence[str]], Tokens], texts: Sequence[str]) -> Future[Answer]:
        """Hand in a job.

        Args:
            tokenize: Makes token sequences of some of the texts, in order. Called in one thread for all jobs, since
                tokenizers are not thread-safe.
            texts: What to tokenize and compute, at least one.

        Returns:
            The answer to come, or the error that `tokenize` or `compute` raised.
        """
        if _exiting.is_set():
            raise ModelOutputError("The interpreter is ending, and the local model with it.")
        future: Future[Answer] = Future()
        request = Request(Job(future, len(texts), shares_prefix=self._shares_prefix), tokenize, texts)
        with self._lock:
            # A forked child inherits the object but not its threads.
            if self._inbox is not None and not all(thread.is_alive() for thread in self._threads):
                self._inbox.put(None)
                self._inbox = None
            self._inbox = self._inbox or self._start()
            self._inbox.put(request)
        return future

    def _start(self) -> Inbox:
        inbox: Inbox = queue.SimpleQueue()
        tokenized: Inbox = queue.SimpleQueue()
        passes = Passes(self._compute, self._budget, self._padded)
        if self._side_by_side:
            passes.lanes = Lanes(self._compute, partial(tokenized.put, _LANDED))
        old_tokenize, old_compute = self._threads or (None, None)
        self._threads = [
            _run("qwen-embed-tokenize", _tokenize, inbox, tokenized, after=old_tokenize),
            _run("qwen-embed-compute", _compute, tokenized, passes, after=old_compute),
        ]
        weakref.finalize(self, inbox.put, None)
        return inbox

    def close(self) -> None:
        """End the threads after the jobs handed in so far; those handed in later wait for these."""
        with self._lock:
            if self._inbox is not None:
                self._inbox.put(None)
            self._inbox = None


def _run(
    name: str, work: Callable[..., None], inbox: Inbox, other: Any, *, after: threading.Thread | None
) -> threading.Thread:
    def run() -> None:
        # Neither tokenizers nor a device's memory stand two at once.
        if after is not None:
            after.join()
        work(inbox, other)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    _running[thread] = inbox
    return thread


def _tokenize(inbox: Inbox, tokenized: Inbox) -> None:
    tokenizing = Tokenizing(tokenized.put)
    open_ = True
    try:
        while (tokenizing.requests or open_) and not _exiting.is_set():
            open_ &= _receive(inbox, tokenizing.requests.append, wait=not tokenizing.requests)
            try:
                tokenizing.step()
            except BaseException as error:  # noqa: BLE001 a thread that died would leave all callers waiting
                tokenizing.abandon(error)
        _receive(inbox, tokenizing.requests.append, wait=False)
        tokenizing.abandon(_ended())
    finally:
        tokenized.put(None)


def _compute(tokenized: Inbox, passes: Passes) -> None:
    def take_in(arrived: list[tuple[Job, Tokens]] | object) -> None:
        if isinstance(arrived, list):
            for part in arrived:
                passes.add(*part)

    own_threads()
    open_ = True
    try:
        while (passes.busy or open_) and not _exiting.is_set():
            open_ &= _receive(tokenized, take_in, wait=passes.waits)
            try:
                passes.step()
            except BaseException as error:  # noqa: BLE001 a thread that died would leave all callers waiting
                passes.abandon(error)
        while open_:  # what the other thread still sends before it ends
            open_ = _receive(tokenized, take_in, wait=True)
        passes.abandon(_ended())
    finally:
        passes.close()


def _receive(inbox: Inbox, take_in: Callable[[Any], None], *, wait: bool) -> bool:
    """Take in all that has arrived; tell whether more may come."""
    open_ = True
    while wait or not inbox.empty():
        wait = False
        arrived = inbox.get()
        if arrived is None:
            open_ = False
        else:
            take_in(arrived)
    return open_


def _ended() -> ModelOutputError:
    return ModelOutputError("The interpreter ended before this was computed.")
