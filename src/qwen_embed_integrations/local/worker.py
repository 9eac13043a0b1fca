"""One thread that computes for all callers: calls that arrive together share forward passes.

Callers in threads and event loops hand in jobs and wait for futures. The worker never waits for company: while one
pass computes, the next calls gather, and the next pass takes them together. Short jobs go first, so a query does not
wait behind an index build.
"""

from __future__ import annotations

import atexit
import os
import queue
import threading
import weakref
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from qwen_embed_integrations.errors import ModelOutputError, QwenEmbedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qwen_embed_integrations.local.tokens import Tokens
    from qwen_embed_integrations.vectors import Float32

    # Sequences are lists of token ids, or anything else with as many tokens as it has length.
    Compute = Callable[[Sequence[Any]], Float32]


@dataclass
class Answer:
    """What a job came to: values in the order of its texts, which texts were cut, and how many tokens it took."""

    values: Float32
    shortened: list[int]
    tokens: int


@dataclass
class _Request:
    tokenize: Callable[[], Tokens]
    future: Future[Answer] = field(default_factory=Future)


@dataclass
class _Job:
    future: Future[Answer]
    tokens: Tokens
    order: list[int]
    tokens_left: int
    values: Float32 | None = None


_running: weakref.WeakKeyDictionary[threading.Thread, queue.SimpleQueue[_Request | None]] = weakref.WeakKeyDictionary()
_exiting = threading.Event()


@atexit.register
def _end_all() -> None:
    # A thread that computes while the interpreter is taken down dies inside torch, and the process with it.
    _exiting.set()
    for thread, inbox in list(_running.items()):
        inbox.put(None)
        thread.join()


class Worker:
    """Computes jobs in a thread of its own, started on first use.

    Args:
        compute: Turns token sequences into values, one row (or number) each.
        token_budget: Tokens in one call of `compute`, unless a single sequence has more.
        padded: Whether `compute` pads to the longest sequence, so that padding counts too.
    """

    def __init__(self, compute: Compute, token_budget: int, *, padded: bool = False) -> None:
        self._compute = compute
        self._token_budget = token_budget
        self._padded = padded
        self._lock = threading.Lock()
        self._inbox: queue.SimpleQueue[_Request | None] | None = None
        self._pid = 0

    def submit(self, tokenize: Callable[[], Tokens]) -> Future[Answer]:
        """Hand in a job.

        Args:
            tokenize: Makes the job's token sequences; called in the worker's thread, since tokenizers are not
                thread-safe.

        Returns:
            The answer to come, or the error that `tokenize` or `compute` raised.
        """
        if _exiting.is_set():
            raise ModelOutputError("The interpreter is ending, and the local model with it.")
        request = _Request(tokenize)
        with self._lock:
            # A forked child inherits the object but not its thread.
            if self._inbox is None or self._pid != os.getpid():
                self._inbox, self._pid = queue.SimpleQueue(), os.getpid()
                thread = threading.Thread(
                    target=_work,
                    args=(self._inbox, self._compute, self._token_budget, self._padded),
                    name="qwen-embed-local",
                    daemon=True,
                )
                thread.start()
                _running[thread] = self._inbox
                weakref.finalize(self, self._inbox.put, None)
            self._inbox.put(request)
        return request.future

    def close(self) -> None:
        """End the thread after the jobs handed in so far."""
        with self._lock:
            if self._inbox is not None:
                self._inbox.put(None)
            self._inbox = None


def _work(
    inbox: queue.SimpleQueue[_Request | None],
    compute: Compute,
    token_budget: int,
    padded: bool,  # noqa: FBT001 handed over by position to the thread
) -> None:
    jobs: list[_Job] = []
    closing = False
    while (jobs or not closing) and not _exiting.is_set():
        arrived = [] if jobs else [inbox.get()]
        while not inbox.empty():
            arrived.append(inbox.get())
        closing |= None in arrived
        jobs += filter(None, map(_start, filter(None, arrived)))
        jobs = [job for job in jobs if not job.future.cancelled()]
        if jobs:
            _step(jobs, compute, token_budget, padded=padded)
            jobs = [job for job in jobs if not job.future.done()]
    for job in jobs:
        _fail(job, ModelOutputError("The interpreter ended before this was computed."))


def _start(request: _Request) -> _Job | None:
    try:
        tokens = request.tokenize()
    except Exception as error:  # noqa: BLE001 it belongs to the caller who waits
        _fail(request, error)
        return None
    lengths = [*map(len, tokens.sequences)]
    # Taken from the end, longest first: if memory runs out, it does so at once.
    return _Job(request.future, tokens, sorted(range(len(lengths)), key=lengths.__getitem__), sum(lengths))


def _step(jobs: list[_Job], compute: Compute, token_budget: int, *, padded: bool) -> None:
    taken: list[tuple[_Job, int]] = []
    sequences: list[Any] = []
    tokens = longest = 0
    for job in sorted(jobs, key=lambda job: job.tokens_left):
        own = job.tokens.sequences
        while job.order:
            length = len(own[job.order[-1]])
            cost = max(longest, length) * (len(sequences) + 1) if padded else tokens + length
            if taken and cost > token_budget:
                break
            at = job.order.pop()
            tokens, longest = tokens + length, max(longest, length)
            taken.append((job, at))
            sequences.append(own[at])
            job.tokens_left -= length
    part = {id(job): job for job, _ in taken}.values()
    try:
        values = compute(sequences)
        for (job, at), value in zip(taken, values, strict=True):
            if job.values is None:
                job.values = np.empty((len(job.tokens.sequences), *values.shape[1:]), np.float32)
            job.values[at] = value
    except Exception as error:  # noqa: BLE001 it belongs to the callers who wait
        for job in part:
            _fail(job, error)
        return
    for job in part:
        if not job.order:
            _finish(job)


def _finish(job: _Job) -> None:
    if job.future.set_running_or_notify_cancel() and job.values is not None:
        count = sum(map(len, job.tokens.sequences))
        job.future.set_result(Answer(job.values, job.tokens.shortened, count))


def _fail(job: _Job | _Request, error: Exception) -> None:
    if job.future.set_running_or_notify_cancel():
        if not isinstance(error, QwenEmbedError):
            error.__traceback__ = None
        job.future.set_exception(error)
