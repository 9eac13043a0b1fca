"""What the framework classes share: a core object built at its first use, and options read from their settings."""

from __future__ import annotations

import os
import threading
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import SecretStr

from qwen_embed_integrations.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import BaseModel

    from qwen_embed_integrations.options import LocalOptions, ServedOptions

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


def options_of(
    settings: BaseModel, options: type[ServedOptions | LocalOptions], renamed: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the options among a framework object's settings.

    Args:
        settings: The object, which has a field for each option that it offers.
        options: Where the options are listed.
        renamed: What the framework calls an option, where it has another name for it.

    Returns:
        Keyword arguments of `Embedder.served` and its like, with secrets in plain text.
    """
    values = {}
    for option in fields(options):
        name = (renamed or {}).get(option.name, option.name)
        if name in type(settings).model_fields:
            value = getattr(settings, name)
            values[option.name] = (value.get_secret_value() or None) if isinstance(value, SecretStr) else value
    return values


def base_url_from_env() -> str:
    """Return the server's address from `QWEN_EMBED_BASE_URL`.

    Raises:
        InvalidInputError: If it is not set.
    """
    base_url = os.environ.get("QWEN_EMBED_BASE_URL")
    if not base_url:
        raise InvalidInputError(
            "`base_url` is not given and QWEN_EMBED_BASE_URL is not set. Pass the server's address, such as "
            "http://localhost:30000/v1.",
            parameter="base_url",
        )
    return base_url
