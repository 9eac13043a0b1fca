"""The texts of a call, handed to a worker a window at a time, and its answers as batches."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from qwen_embed_integrations import interrupts
from qwen_embed_integrations.engine import Batch, Usage
from qwen_embed_integrations.errors import ClosedError, InvalidInputError, ModelOutputError, OutOfMemoryError
from qwen_embed_integrations.inputs import name_positions
from qwen_embed_integrations.local.scheduler.worker import in_worker_thread
from qwen_embed_integrations.vectors import unusable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from qwen_embed_integrations.local.scheduler.batching import Answer
    from qwen_embed_integrations.local.scheduler.worker import Worker
    from qwen_embed_integrations.local.sequences import Tokens

    Tokenize = Callable[[Sequence[str]], Tokens]

# What is handed to the worker at once. Sorting by length needs many texts; memory and progress want few.
_TEXTS = 2048
_CHARACTERS = 2_000_000
_WINDOWS_AHEAD = 2


class Windows:
    """A worker behind windows of texts, shared by all callers of a model.

    Args:
        worker: Computes the windows.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._usage = Usage()
        self._lock = threading.Lock()

    @property
    def usage(self) -> Usage:
        """Tokens so far."""
        return self._usage

    @property
    def token_budget(self) -> int:
        """Tokens in one forward pass by now."""
        return self._worker.token_budget

    def run(self, texts: Iterable[str], tokenize: Tokenize) -> Iterator[Batch]:
        """Compute the texts a window at a time, keeping the worker one window ahead."""
        ahead: deque[tuple[int, Future[Answer]]] = deque()
        try:
            for start, future in self._submit(texts, tokenize, ahead):
                yield from self._batches(start, _naming_positions(start, partial(interrupts.wait, future)))
        finally:
            _cancel(ahead)

    async def arun(self, texts: Iterable[str], tokenize: Tokenize) -> AsyncGenerator[Batch, None]:
        """Compute the texts a window at a time, keeping the worker one window ahead."""
        ahead: deque[tuple[int, Future[Answer]]] = deque()
        try:
            for start, future in self._submit(texts, tokenize, ahead):
                waiting = asyncio.wrap_future(future)
                await asyncio.wait([waiting])
                for batch in self._batches(start, _naming_positions(start, waiting.result)):
                    yield batch
        finally:
            _cancel(ahead)

    def _submit(
        self, texts: Iterable[str], tokenize: Tokenize, ahead: deque[tuple[int, Future[Answer]]]
    ) -> Iterator[tuple[int, Future[Answer]]]:
        refused: ClosedError | None = None
        for start, window in _cut(texts):
            try:
                ahead.append((start, self._worker.submit(tokenize, window)))
            except ClosedError as error:  # what was handed in before is still answered
                refused = error
                break
            if len(ahead) >= _WINDOWS_AHEAD:
                yield ahead[0]
                ahead.popleft()
        while ahead:
            yield ahead[0]
            ahead.popleft()
        if refused is not None:
            raise refused

    def _batches(self, start: int, answer: Answer) -> Iterator[Batch]:
        with self._lock:
            self._usage += Usage(answer.tokens)
        bad = unusable(answer.values).tolist()
        good = sorted(set(range(len(answer.values))) - set(bad)) if bad else range(len(answer.values))
        yield Batch(
            [start + position for position in good],
            answer.values[list(good)] if bad else answer.values,
            shortened=[start + position for position in answer.shortened],
        )
        if bad:
            positions = [start + position for position in bad]
            error = ModelOutputError(
                f"The model gave NaN, infinite or all-zero values at {name_positions(positions)}. "
                "In float16 this is usually overflow: use dtype='bfloat16' or 'float32'."
            )
            error.positions = tuple(positions)
            yield Batch((), answer.values[:0], failure=error)

    def close(self) -> None:
        """Refuse further texts, and free the model's memory when those handed in so far are computed."""
        freed = self._worker.close()
        if not in_worker_thread():
            interrupts.wait(freed)

    async def aclose(self) -> None:
        """Refuse further texts, and free the model's memory; see `close`. The event loop goes on meanwhile."""
        # Unlike awaiting it, this leaves the future alone when the task is cancelled.
        await asyncio.wait([asyncio.wrap_future(self._worker.close())])


def _cut(texts: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    start = characters = 0
    window: list[str] = []
    for text in texts:
        window.append(text)
        characters += len(text)
        if len(window) == _TEXTS or characters >= _CHARACTERS:
            yield start, window
            start, characters, window = start + len(window), 0, []
    if window:
        yield start, window


def _naming_positions(start: int, result: Callable[[], Answer]) -> Answer:
    """Return a window's answer; an error names positions within the whole call."""
    try:
        return result()
    except (InvalidInputError, OutOfMemoryError) as error:
        if not error.positions:
            raise
        error.positions = tuple(start + position for position in error.positions)
        where = f"At {name_positions(error.positions)},"
        if isinstance(error, InvalidInputError):
            where = f"`{error.parameter}` at {name_positions(error.positions)}"
        error.args = (f"{where} {error}",)
        raise


def _cancel(ahead: deque[tuple[int, Future[Answer]]]) -> None:
    for _, future in ahead:
        future.cancel()
