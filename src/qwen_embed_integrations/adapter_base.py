"""What the framework classes share: a core object built from settings at its first use, and settings of the shell."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from qwen_embed_integrations.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Built(Generic[T]):
    """Holds what is built at its first use. Deep copies and pickles start empty; all are equal."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value: T | None = None

    def get(self, build: Callable[[], T]) -> T:
        """Return what was built, building it if need be, once however many threads ask."""
        with self._lock:
            if self._value is None:
                self._value = build()
            return self._value

    def take(self) -> T | None:
        """Return what was built, if anything, and forget it."""
        with self._lock:
            value, self._value = self._value, None
            return value

    def __reduce__(self) -> Any:
        return Built, ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Built)

    def __hash__(self) -> int:
        return hash(Built)


def base_url_from_env() -> str:
    """Return the server's address from `QWEN_EMBED_BASE_URL`.

    Raises:
        InvalidInputError: If it is not set.
    """
    found = os.environ.get("QWEN_EMBED_BASE_URL")
    if not found:
        raise InvalidInputError(
            "`base_url` is not given and QWEN_EMBED_BASE_URL is not set. Pass the server's address, such as "
            "http://localhost:30000/v1.",
            parameter="base_url",
        )
    return found
