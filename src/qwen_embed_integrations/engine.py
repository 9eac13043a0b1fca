"""The interface of engines, and what Embedder and Reranker share over one."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NoReturn, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from typing_extensions import Self

    from qwen_embed_integrations.errors import QwenEmbedError
    from qwen_embed_integrations.vectors import Floats


@dataclass(frozen=True)
class Usage:
    """What has been spent so far.

    Attributes:
        tokens: Tokens read by the model, as the server or the local tokenizer counts them.
        requests: HTTP requests answered; 0 for local models.
        shortened: Texts that were cut, since they were longer than the model reads.
    """

    tokens: int = 0
    requests: int = 0
    shortened: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.tokens + other.tokens, self.requests + other.requests, self.shortened + other.shortened)


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
        """What has been spent so far; the texts that were cut are counted by who calls the engine."""
        ...

    def describe(self) -> dict[str, str | int | None]:
        """Tell what computes, and how: device and dtype, or server and version, and the like."""
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


class SharedEngine(Generic[E]):
    """An engine and the objects that use it: it is closed with the last of them.

    An object that was garbage collected uses it no longer.
    """

    def __init__(self, engine: E) -> None:
        self.engine = engine
        self._users: weakref.WeakSet[object] = weakref.WeakSet()
        self._shortened = 0
        self._lock = threading.Lock()

    @property
    def usage(self) -> Usage:
        """What all users have spent so far."""
        return self.engine.usage + Usage(shortened=self._shortened)

    def count_shortened(self, count: int) -> None:
        """Count texts that were cut."""
        with self._lock:
            self._shortened += count

    def join(self, user: object) -> None:
        """Count an object as a user."""
        with self._lock:
            self._users.add(user)

    def leave(self, user: object) -> bool:
        """Count an object as a user no longer, and tell whether there is no other."""
        with self._lock:
            self._users.discard(user)
            return not self._users


class OverEngine(Generic[E]):
    """What Embedder and Reranker share: an engine, what it spent, and its end."""

    def __init__(self, engine: E | SharedEngine[E]) -> None:
        self._shared = engine if isinstance(engine, SharedEngine) else SharedEngine(engine)
        self._shared.join(self)
        self._closed = False

    @property
    def _engine(self) -> E:
        return self._shared.engine

    @property
    def usage(self) -> Usage:
        """Tokens, requests and cut texts so far, summed over all calls of all objects over the same engine."""
        return self._shared.usage

    @property
    def is_closed(self) -> bool:
        """Whether `close` or `aclose` was called."""
        return self._closed

    def _count(self, batch: Batch) -> None:
        if batch.shortened:
            self._shared.count_shortened(len(batch.shortened))

    def close(self) -> None:
        """Release connections, threads and memory, unless another object made by `with_options` uses them."""
        self._closed = True
        if self._shared.leave(self):
            self._engine.close()

    async def aclose(self) -> None:
        """Release connections, threads and memory, those of the running event loop too; see `close`."""
        self._closed = True
        if self._shared.leave(self):
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
