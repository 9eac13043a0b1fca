"""How the parts of an answer become one checked array, or lists."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import numpy as np

from qwen_embed_integrations.callers import warn_caller
from qwen_embed_integrations.errors import LongTextWarning, QwenEmbedError
from qwen_embed_integrations.extras import require
from qwen_embed_integrations.inputs import name_positions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from qwen_embed_integrations.engine import Batch
    from qwen_embed_integrations.vectors import Floats


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

    def result(self, empty_shape: tuple[int, ...]) -> Floats:
        """Return the whole answer, warning of the texts that were cut.

        Args:
            empty_shape: Shape of the answer to no texts.

        Raises:
            QwenEmbedError: The first failure of a single text, naming the positions of all of them and carrying
                what was completed.
        """
        self._finish_call()
        return np.empty(empty_shape, np.float32) if self._values is None else self._values

    def _put(self, positions: Sequence[int], values: Floats) -> None:
        if self._values is None:
            self._values = np.full((self._count, *values.shape[1:]), np.nan, values.dtype)
        self._values[list(positions)] = values

    def _completed(self) -> Floats | None:
        return self._values

    def _finish_call(self) -> None:
        if self._shortened:
            cut = sorted(self._shortened)
            warn_caller(
                f"{len(cut)} of {self._count} `{self._parameter}` were longer than the model reads and were cut, at "
                f"{name_positions(cut)}. Split them, or pass long_text='error'.",
                LongTextWarning,
            )
        if self._failures:
            failure = min(self._failures, key=lambda failure: failure.positions)
            failure.positions = tuple(sorted(position for part in self._failures for position in part.positions))
            failure.completed = self._completed()
            if len(self._failures) > 1:
                failure.args = (f"{failure} In all, {name_positions(failure.positions)} failed.",)
            raise failure


class ListCollector(Collector):
    """Collects vectors as Python lists, each part made into lists while later parts are still computed or sent."""

    def __init__(self, count: int, **settings: Any) -> None:
        super().__init__(count, **settings)
        self._rows: list[list[float]] = [[]] * count

    def lists(self) -> list[list[float]]:
        """Return the whole answer; see `result`."""
        self._finish_call()
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
