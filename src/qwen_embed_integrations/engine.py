"""What every engine answers, and how its answers become one checked array."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, NoReturn, Protocol, TypeVar

import numpy as np

from qwen_embed_integrations.checks import name_positions
from qwen_embed_integrations.errors import LongTextWarning, QwenEmbedError
from qwen_embed_integrations.extras import require

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
    from typing import Any

    from typing_extensions import Self

    from qwen_embed_integrations.vectors import Floats

LongText = Literal["truncate", "error"]


@dataclass(frozen=True)
class Usage:
    """What has been spent so far.

    Attributes:
        tokens: Tokens read by the model, as the server or the local tokenizer counts them.
        requests: HTTP requests answered; 0 for local models.
    """

    tokens: int = 0
    requests: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.tokens + other.tokens, self.requests + other.requests)


@dataclass(frozen=True)
class Batch:
    """A part of an answer.

    Attributes:
        positions: Where the values belong among the texts of the call.
        values: Vectors of shape `(len(positions), size)`, or scores of shape `(len(positions),)`.
        shortened: Positions of the texts that were cut to fit the model.
        failure: Why a single text has no values; the other parts of the call go on.
    """

    positions: Sequence[int]
    values: Floats
    shortened: Sequence[int] = ()
    failure: QwenEmbedError | None = None


class Engine(Protocol):
    """Something that computes, and is closed when done."""

    @property
    def usage(self) -> Usage:
        """What has been spent so far."""
        ...

    def close(self) -> None:
        """Release connections, threads and memory."""
        ...

    async def aclose(self) -> None:
        """Release connections, threads and memory."""
        ...


class EmbeddingEngine(Engine, Protocol):
    """Turns finished texts (prompts included) into vectors."""

    identity: dict[str, str | None]
    size: int | None

    def embed(self, texts: Sequence[str]) -> Iterator[Batch]:
        """Yield vectors in parts, in any order."""
        ...

    def aembed(self, texts: Sequence[str]) -> AsyncGenerator[Batch, None]:
        """Yield vectors in parts, in any order."""
        ...


class RerankEngine(Engine, Protocol):
    """Scores documents against a query."""

    def rerank(self, query: str, documents: Sequence[str], instruction: str | None) -> Iterator[Batch]:
        """Yield scores in parts, in any order."""
        ...

    def arerank(self, query: str, documents: Sequence[str], instruction: str | None) -> AsyncGenerator[Batch, None]:
        """Yield scores in parts, in any order."""
        ...


E = TypeVar("E", bound=Engine)


class OverEngine(Generic[E]):
    """What Embedder and Reranker share: an engine, what it spent, and its end."""

    def __init__(self, engine: E) -> None:
        self._engine = engine

    @property
    def usage(self) -> Usage:
        """Tokens and requests so far, summed over all calls."""
        return self._engine.usage

    def close(self) -> None:
        """Release connections, threads and memory."""
        self._engine.close()

    async def aclose(self) -> None:
        """Release connections, threads and memory, those of the running event loop too."""
        await self._engine.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __reduce__(self) -> NoReturn:
        kind = type(self).__name__
        raise TypeError(f"{kind} holds connections or a loaded model; pickle what it was made from instead.")


class Collector:
    """Puts the parts of an answer in place as they arrive, in any order."""

    def __init__(
        self,
        count: int,
        *,
        finish: Callable[[Floats], Floats],
        parameter: str,
        show_progress: bool = False,
        unit: str = "text",
    ) -> None:
        self._count = count
        self._finish = finish
        self._parameter = parameter
        self._values: Floats | None = None
        self._shortened: list[int] = []
        self._failures: list[QwenEmbedError] = []
        self._bar = _progress_bar(count, unit) if show_progress else None

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Attach to any error what was completed before it."""
        try:
            yield
        except QwenEmbedError as error:
            error.completed = self._completed()
            raise
        finally:
            if self._bar is not None:
                self._bar.close()

    def add(self, batch: Batch) -> None:
        """Put one part in place."""
        if batch.failure is not None:
            self._failures.append(batch.failure)
        if len(batch.positions):
            self._put(batch.positions, self._finish(batch.values))
        self._shortened.extend(batch.shortened)
        if self._bar is not None:
            self._bar.update(len(batch.positions))

    def result(self, empty_shape: tuple[int, ...], *, stacklevel: int) -> Floats:
        """Return the whole answer.

        Args:
            empty_shape: Shape of the answer to no texts.
            stacklevel: Calls from here up to the user's own, which a warning points at.

        Raises:
            QwenEmbedError: The first failure of a single text, naming the positions of all of them and carrying
                what was completed.
        """
        self._judge(stacklevel + 1)
        return np.empty(empty_shape, np.float32) if self._values is None else self._values

    def _put(self, positions: Sequence[int], values: Floats) -> None:
        if self._values is None:
            self._values = np.full((self._count, *values.shape[1:]), np.nan, values.dtype)
        self._values[list(positions)] = values

    def _completed(self) -> Floats | None:
        return self._values

    def _judge(self, stacklevel: int) -> None:
        if self._shortened:
            cut = sorted(self._shortened)
            warnings.warn(
                f"{len(cut)} of {self._count} `{self._parameter}` were longer than the model reads and were cut, at "
                f"{name_positions(cut)}. Split them, or pass long_text='error'.",
                LongTextWarning,
                stacklevel=stacklevel,
            )
        if self._failures:
            failure = min(self._failures, key=lambda each: each.positions)
            failure.positions = tuple(sorted(at for each in self._failures for at in each.positions))
            failure.completed = self._completed()
            if len(self._failures) > 1:
                failure.args = (f"{failure} In all, {name_positions(failure.positions)} failed.",)
            raise failure


class ListCollector(Collector):
    """Collects vectors as Python lists, each part made into lists while later parts are still computed or sent."""

    def __init__(self, count: int, **settings: Any) -> None:
        super().__init__(count, **settings)
        self._rows: list[list[float]] = [[]] * count

    def lists(self, *, stacklevel: int) -> list[list[float]]:
        """Return the whole answer; see `result`."""
        self._judge(stacklevel + 1)
        return self._rows

    def _put(self, positions: Sequence[int], values: Floats) -> None:
        for position, row in zip(positions, values.tolist(), strict=True):
            self._rows[position] = row

    def _completed(self) -> Floats | None:
        size = max(map(len, self._rows), default=0)
        return np.array([row or [np.nan] * size for row in self._rows], np.float32) if size else None


def _progress_bar(count: int, unit: str) -> _ProgressBar:
    bar: _ProgressBar = require("tqdm.auto", extra=None).tqdm(total=count, unit=unit)
    return bar


class _ProgressBar(Protocol):
    def update(self, n: int) -> object: ...
    def close(self) -> None: ...
