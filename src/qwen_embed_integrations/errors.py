"""The errors this package raises: one tree, each saying what was found and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt


class QwenEmbedError(Exception):
    """Base of every error raised here.

    Attributes:
        positions: Positions of the texts this is about; empty where it is about the whole call.
        completed: What was finished before the error, NaN where nothing was: an array of shape
            `(n, dimensions)` for embeddings and `(n,)` for rerank scores. None where nothing was.
    """

    positions: tuple[int, ...] = ()
    completed: npt.NDArray[np.float32] | None = None


class InvalidInputError(QwenEmbedError, ValueError):
    """An argument cannot be used; nothing was computed or sent.

    Attributes:
        parameter: Name of the argument.
    """

    # A default, since unpickling (out of a process pool) passes the message alone.
    def __init__(self, message: str, *, parameter: str = "", positions: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.parameter = parameter
        self.positions = tuple(positions)


class TextTooLongError(InvalidInputError):
    """A text has more tokens than the model reads, and `long_text` is `"error"`."""


class UnknownModelError(QwenEmbedError, ValueError):
    """No profile is known for a model name."""


class MissingExtraError(QwenEmbedError, ImportError):
    """A feature needs an optional dependency that is not installed."""


class ModelLoadError(QwenEmbedError):
    """A local checkpoint is missing, incomplete, or would load wrongly."""


class ModelOutputError(QwenEmbedError):
    """A local model gave numbers that cannot be used; `positions` names the texts."""


class OutOfMemoryError(QwenEmbedError, MemoryError):
    """A local model ran out of memory on a single text; `positions` names it."""

    # A default, since unpickling (out of a process pool) passes the message alone.
    def __init__(self, message: str, *, positions: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.positions = tuple(positions)


class ClosedError(QwenEmbedError, RuntimeError):
    """A local model was used after it was closed."""


class ServerError(QwenEmbedError):
    """A server could not be used as asked.

    Attributes:
        url: The URL that was called, without credentials.
        status: HTTP status, or None where no reply came.
        body: First characters of the reply.
    """

    def __init__(
        self,
        message: str,
        *,
        url: str = "",
        status: int | None = None,
        body: str = "",
        positions: Sequence[int] = (),
    ) -> None:
        super().__init__(message)
        self.url = url
        self.status = status
        self.body = body
        self.positions = tuple(positions)


class ServerConnectionError(ServerError):
    """No reply: refused, unresolvable, timed out or cut off, after all retries."""


class ServerAuthenticationError(ServerError):
    """The server answered 401 or 403."""


class EndpointNotFoundError(ServerError):
    """The server answered 404 or 405: wrong URL, wrong model name, or a server without this endpoint."""


class ServerBusyError(ServerError):
    """The server was overloaded or failing (408, 429, 5xx), after all retries."""


class RequestRefusedError(ServerError):
    """The server refused the request itself (any other 4xx); `positions` names the texts if it was about them.

    Attributes:
        too_long: Whether it says that a text is too long.
        too_many: Whether it says that the texts are too many, or too much together.
        most_texts: How many it would take at once, if it says so.
    """

    too_long: bool = False
    too_many: bool = False
    most_texts: int | None = None


class WrongServerError(ServerError):
    """An embedding server was asked to rerank, or the reverse."""


class BadReplyError(ServerError):
    """The reply cannot be trusted: not JSON, rows missing, repeated, not finite, or of the wrong size."""


class LongTextWarning(UserWarning):
    """Texts were longer than the model reads and were cut."""


class UnknownModelWarning(UserWarning):
    """A model without a profile is used plainly: no prompt, the server's own size."""
