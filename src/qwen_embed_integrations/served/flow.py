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
        optional: Tried once and briefly, for questions whose answer can be done without.
    """

    path: str
    body: Mapping[str, Any] | None = None
    optional: bool = False


if TYPE_CHECKING:
    Flow: TypeAlias = Generator[Request, bytes, T]
