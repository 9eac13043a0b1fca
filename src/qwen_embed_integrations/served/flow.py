"""A flow: a generator that yields requests and receives replies.

What to ask next is decided once, in a pure function that knows nothing of threads, event loops or sockets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from typing import TypeAlias

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """What to send.

    Attributes:
        path: Relative to the base URL, or an absolute URL on the same server.
        body: JSON body; None makes it a GET.
        optional: Sent once and waited for briefly, for questions whose answer can be done without.
        timeout: Seconds to wait at most, in each try, within the connection's own timeout; None for that.
    """

    path: str
    body: Mapping[str, Any] | None = None
    optional: bool = False
    timeout: float | None = None


@dataclass(frozen=True)
class Background:
    """A flow to run beside the one that yields this, which goes on at once and receives an empty reply.

    Nobody waits for its result. It runs next, within the same bound on requests in flight.
    """

    flow: Flow[None]


if TYPE_CHECKING:
    Flow: TypeAlias = Generator[Request | Background, bytes, T]
