"""What local embedding and local reranking share: a worker, windows of texts, usage."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING

from qwen_embed_integrations.engine import Batch, Usage
from qwen_embed_integrations.errors import InvalidInputError, ModelOutputError, OutOfMemoryError
from qwen_embed_integrations.inputs import name_positions
from qwen_embed_integrations.local.scheduler.worker import Worker
from qwen_embed_integrations.vectors import unusable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from qwen_embed_integrations.local.checkpoint.tokenizer import Tokens
    from qwen_embed_integrations.local.scheduler.batching import Answer
    from qwen_embed_integrations.local.scheduler.worker import Compute

# What is handed to the worker at once. Sorting by length needs many texts; memory and progress want few.
_TEXTS = 2048
_CHARACTERS = 2_000_000
_WINDOWS_AHEAD = 2


class LocalEngine:
    """A model in this process, shared by all callers."""

    def __init__(
        self,
        compute: Compute,
        token_budget: int,
        *,
        padded: bool,
        shares_prefix: bool = False,
        side_by_side: bool = False,
    ) -> None:
        self._worker = Worker(
            compute, token_budget, padded=padded, shares_prefix=shares_prefix, side_by_side=side_by_side
        )
        self._usage = Usage()
        self._lock = threading.Lock()

    @property
    def usage(self) -> Usage:
        """Tokens so far."""
        return self._usage

    def describe(self) -> dict[str, str | int | None]:
        """Tell how the model is run."""
        return {"token_budget": self._worker._budget.tokens}  # noqa: SLF001 its own worker

    def run(self, texts: Iterable[str], tokenize: Callable[[Sequence[str]], Tokens]) -> Iterator[Batch]:
        """Compute the texts a window at a time, keeping the worker one window ahead."""
        ahead: deque[tuple[int, Future[Answer]]] = deque()
        try:
            for window in self._windows(texts, tokenize, ahead):
                start, future = window
                yield from self._batches(start, _result(start, future.result))
        finally:
            _cancel(ahead)

    async def arun(
        self, texts: Iterable[str], tokenize: Callable[[Sequence[str]], Tokens]
    ) -> AsyncGenerator[Batch, None]:
        """Compute the texts a window at a time, keeping the worker one window ahead."""
        ahead: deque[tuple[int, Future[Answer]]] = deque()
        try:
            for start, future in self._windows(texts, tokenize, ahead):
                waiting = asyncio.wrap_future(future)
                await asyncio.wait([waiting])
                for batch in self._batches(start, _result(start, waiting.result)):
                    yield batch
        finally:
            _cancel(ahead)

    def _windows(
        self,
        texts: Iterable[str],
        tokenize: Callable[[Sequence[str]], Tokens],
        ahead: deque[tuple[int, Future[Answer]]],
    ) -> Iterator[tuple[int, Future[Answer]]]:
        for start, window in _cut(texts):
            ahead.append((start, self._worker.submit(tokenize, window)))
            if len(ahead) >= _WINDOWS_AHEAD:
                yield ahead[0]
                ahead.popleft()
        while ahead:
            yield ahead[0]
            ahead.popleft()

    def _batches(self, start: int, answer: Answer) -> Iterator[Batch]:
        with self._lock:
            self._usage += Usage(answer.tokens)
        bad = unusable(answer.values).tolist()
        good = sorted(set(range(len(answer.values))) - set(bad)) if bad else range(len(answer.values))
        yield Batch(
            [start + at for at in good],
            answer.values[list(good)] if bad else answer.values,
            shortened=[start + at for at in answer.shortened],
        )
        if bad:
            wrong = [start + at for at in bad]
            error = ModelOutputError(
                f"The model gave NaN, infinite or all-zero values at {name_positions(wrong)}. "
                "In float16 this is usually overflow: use dtype='bfloat16' or 'float32'."
            )
            error.positions = tuple(wrong)
            yield Batch((), answer.values[:0], failure=error)

    def close(self) -> None:
        """End the worker; the model goes with this object."""
        self._worker.close()

    async def aclose(self) -> None:
        """End the worker; the model goes with this object."""
        self.close()


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


def _result(start: int, result: Callable[[], Answer]) -> Answer:
    try:
        return result()
    except (InvalidInputError, OutOfMemoryError) as error:
        if not error.positions:
            raise
        error.positions = tuple(start + at for at in error.positions)
        where = f"At {name_positions(error.positions)},"
        if isinstance(error, InvalidInputError):
            where = f"`{error.parameter}` at {name_positions(error.positions)}"
        error.args = (f"{where} {error}",)
        raise


def _cancel(ahead: deque[tuple[int, Future[Answer]]]) -> None:
    for _, future in ahead:
        future.cancel()
