"""What every engine answers, and how its answers become one checked array."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from qwen_embed_integrations.errors import InvalidInputError, LongTextWarning, QwenEmbedError
from qwen_embed_integrations.extras import require

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence

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


class EmbeddingEngine(Protocol):
    """Turns finished texts (prompts included) into vectors."""

    identity: dict[str, str | None]
    size: int | None

    @property
    def usage(self) -> Usage:
        """What has been spent so far."""
        ...

    def embed(self, texts: Sequence[str]) -> Iterator[Batch]:
        """Yield vectors in parts, in any order."""
        ...

    def aembed(self, texts: Sequence[str]) -> AsyncGenerator[Batch, None]:
        """Yield vectors in parts, in any order."""
        ...

    def close(self) -> None:
        """Release connections, threads and memory."""
        ...

    async def aclose(self) -> None:
        """Release connections, threads and memory."""
        ...


class RerankEngine(Protocol):
    """Scores documents against a query."""

    @property
    def usage(self) -> Usage:
        """What has been spent so far."""
        ...

    def rerank(self, query: str, documents: Sequence[str], instruction: str | None) -> Iterator[Batch]:
        """Yield scores in parts, in any order."""
        ...

    def arerank(self, query: str, documents: Sequence[str], instruction: str | None) -> AsyncGenerator[Batch, None]:
        """Yield scores in parts, in any order."""
        ...

    def close(self) -> None:
        """Release connections, threads and memory."""
        ...

    async def aclose(self) -> None:
        """Release connections, threads and memory."""
        ...


def check_long_text(long_text: str) -> None:
    """Refuse a `long_text` that means nothing.

    Raises:
        InvalidInputError: If it is neither `"truncate"` nor `"error"`.
    """
    if long_text not in {"truncate", "error"}:
        raise InvalidInputError(
            f"`long_text` is {long_text!r}; it must be 'truncate' or 'error'.", parameter="long_text"
        )


def check_name(value: object, *, parameter: str) -> None:
    """Refuse what is no string, or blank, where one is needed.

    Raises:
        InvalidInputError: Naming the parameter.
    """
    if not isinstance(value, str) or not value.strip():
        raise InvalidInputError(f"`{parameter}` is {value!r}; it must be a string.", parameter=parameter)


def check_instruction(instruction: object) -> None:
    """Refuse an instruction that is no string.

    Raises:
        InvalidInputError: If it is neither a string nor None.
    """
    if instruction is not None and not isinstance(instruction, str):
        raise InvalidInputError(
            f"`instruction` is {type(instruction).__name__}; it must be a string, or None for the default.",
            parameter="instruction",
        )


def check_texts(texts: Iterable[str], *, parameter: str) -> list[str]:
    """Refuse what is no text, before anything is computed or sent.

    Args:
        texts: The texts.
        parameter: Name of the argument, for the message.

    Returns:
        The same texts in a list.

    Raises:
        InvalidInputError: If `texts` is a single string, or holds something else than text, or blank text.
    """
    if isinstance(texts, str):
        raise InvalidInputError(f"`{parameter}` is one string; pass a list of strings.", parameter=parameter)
    try:
        listed = list(texts)
    except TypeError as error:
        raise InvalidInputError(
            f"`{parameter}` is {type(texts).__name__}; pass a list of strings.", parameter=parameter
        ) from error
    wrong = [at for at, text in enumerate(listed) if not isinstance(text, str)]
    if wrong:
        kinds = ", ".join(sorted({type(listed[at]).__name__ for at in wrong}))
        raise InvalidInputError(
            f"`{parameter}` must hold strings; found {kinds} at {_name_positions(wrong)}.",
            parameter=parameter,
            positions=wrong,
        )
    blank = [at for at, text in enumerate(listed) if not text.strip()]
    if blank:
        raise InvalidInputError(
            f"`{parameter}` holds blank text at {_name_positions(blank)}. Nothing was sent; drop these texts: a blank "
            "has no meaning to embed or score, and some servers refuse the whole request.",
            parameter=parameter,
            positions=blank,
        )
    broken = [at for at, text in enumerate(listed) if not _is_unicode(text)]
    if broken:
        raise InvalidInputError(
            f"`{parameter}` holds text with lone surrogates at {_name_positions(broken)}, which cannot be sent. It was "
            "read with the wrong encoding; repair it, for example with text.encode('utf-8', 'replace').decode().",
            parameter=parameter,
            positions=broken,
        )
    return listed


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
            error.completed = self._values
            raise
        finally:
            if self._bar is not None:
                self._bar.close()

    def add(self, batch: Batch) -> None:
        """Put one part in place."""
        if batch.failure is not None:
            self._failures.append(batch.failure)
        if len(batch.positions):
            values = self._finish(batch.values)
            if self._values is None:
                self._values = np.full((self._count, *values.shape[1:]), np.nan, values.dtype)
            self._values[list(batch.positions)] = values
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
        if self._shortened:
            cut = sorted(self._shortened)
            warnings.warn(
                f"{len(cut)} of {self._count} `{self._parameter}` were longer than the model reads and were cut, at "
                f"{_name_positions(cut)}. Split them, or pass long_text='error'.",
                LongTextWarning,
                stacklevel=stacklevel,
            )
        if self._failures:
            failure = min(self._failures, key=lambda each: each.positions)
            failure.positions = tuple(sorted(at for each in self._failures for at in each.positions))
            failure.completed = self._values
            if len(self._failures) > 1:
                failure.args = (f"{failure} In all, {_name_positions(failure.positions)} failed.",)
            raise failure
        return np.empty(empty_shape, np.float32) if self._values is None else self._values


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name_positions(positions: Sequence[int], shown: int = 10) -> str:
    rest = len(positions) - shown
    word = "position" if len(positions) == 1 else "positions"
    return f"{word} {', '.join(map(str, positions[:shown]))}" + (f" and {rest} more" if rest > 0 else "")


def _progress_bar(count: int, unit: str) -> _ProgressBar:
    bar: _ProgressBar = require("tqdm.auto", extra=None).tqdm(total=count, unit=unit)
    return bar


class _ProgressBar(Protocol):
    def update(self, n: int) -> object: ...
    def close(self) -> None: ...
