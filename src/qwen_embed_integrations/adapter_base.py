"""What the framework classes share: a core object built at its first use, over an engine that copies share."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from abc import abstractmethod
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, PrivateAttr, SecretStr

from qwen_embed_integrations.callers import remember_caller
from qwen_embed_integrations.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Self

    from qwen_embed_integrations.options import LocalOptions, ServedOptions


class Closable(Protocol):
    """What can be closed without the framework object that built it."""

    @property
    def is_closed(self) -> bool:
        """Whether it was."""
        ...


T = TypeVar("T", bound=Closable)

# Keyword by which the constructor of a copy learns of the original.
COPIED_FROM = "_copied_from"
# The fields that say which model it is, under the names of both frameworks.
_MODEL = ("model", "model_name", "profile")


class Core(Generic[T]):
    """A framework object's Embedder or Reranker: built at its first use, over the engine of a copy where there is one.

    Copies belong together; pickles start empty and alone. All are equal, since settings are compared elsewhere.
    """

    def __init__(self, family: _Family[T] | None = None) -> None:
        self._family = family or _Family()
        self._value: T | None = None

    @property
    def built(self) -> T | None:
        """What was built, if anything, and was not closed by itself since."""
        value = self._value
        return None if value is None or value.is_closed else value

    def get(self, build: Callable[[], T], share: Callable[[T], T]) -> T:
        """Return what was built, building it if need be, once however many threads call.

        Args:
            build: Loads everything.
            share: Makes another over the engine of the one it is given.
        """
        if (value := self.built) is not None:
            return value
        with self._family.lock:
            if (value := self.built) is None:
                relative = next((relative for relative in self._family.built if not relative.is_closed), None)
                value = self._value = build() if relative is None else share(relative)
                self._family.built.add(value)
            return value

    def take(self) -> T | None:
        """Return what was built, if anything, and forget it."""
        with self._family.lock:
            value, self._value = self._value, None
            if value is not None:
                self._family.built.discard(value)
            return value

    def copy(self) -> Core[T]:
        """Return one with nothing built that shares an engine with this."""
        return Core(self._family)

    def __reduce__(self) -> Any:
        return Core, ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Core)

    def __hash__(self) -> int:
        return hash(Core)


class _Family(Generic[T]):
    """What copies have built, and a lock so that only one of them loads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.built: weakref.WeakSet[T] = weakref.WeakSet()


class CoreModel(BaseModel):
    """Settings of an embedder or a reranker, and the object built from them."""

    _core: Core[Any] = PrivateAttr(default_factory=Core)
    # Whether building loads weights: this takes long and much memory, so it is kept off event loops, and copies share.
    _loads: ClassVar[bool] = False

    def __init__(self, **settings: Any) -> None:
        original = settings.pop(COPIED_FROM, None)
        super().__init__(**settings)
        if original is not None:
            self._core = self._core_beside(original)
        # Wrong settings and missing weights should fail here, and with the core's own errors.
        self._get()

    @abstractmethod
    def _build(self) -> Any:
        """Make the Embedder or Reranker."""

    @abstractmethod
    def _share(self, core: Any) -> Any:
        """Make the Embedder or Reranker over the engine of another."""

    @abstractmethod
    def _options(self) -> dict[str, Any]:
        """Return the options of `ServedOptions` or `LocalOptions`, as keyword arguments."""

    def _get(self) -> Any:
        return self._core.get(self._build, self._share)

    async def _aget(self) -> Any:
        if self._core.built is not None or not self._loads:
            return self._get()
        with remember_caller():
            return await asyncio.to_thread(self._get)

    def close(self) -> None:
        """Release connections, threads and memory, unless a copy uses them; the next use builds them anew."""
        if (core := self._core.take()) is not None:
            core.close()

    async def aclose(self) -> None:
        """Release connections, threads and memory, those of the running event loop too; see `close`."""
        # In a thread, since a copy may be loading, which this waits for.
        core = await asyncio.to_thread(self._core.take) if self._loads else self._core.take()
        if core is not None:
            await core.aclose()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Make a copy, with other settings if wanted, which are checked like new ones.

        A copy of a local model with the same model, profile and loading options shares the weights.
        """
        if not update:
            return super().model_copy(deep=deep)
        # Through the constructor: what pydantic would take unchecked, a misspelt name too, is an error.
        settings = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**settings, **update, COPIED_FROM: self})

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._core = copied._core_beside(self)  # noqa: SLF001 its own class
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        copied = super().__deepcopy__(memo)
        copied._core = copied._core_beside(self)  # noqa: SLF001 its own class
        return copied

    def _core_beside(self, original: Self) -> Core[Any]:
        """Return what to build in, as a copy of an original."""
        shares = self._loads and self._loaded_from() == original._loaded_from()
        return original._core.copy() if shares else Core()

    def _loaded_from(self) -> dict[str, Any]:
        """Return what decides which weights are loaded and how they are run."""
        named = {name: getattr(self, name) for name in _MODEL if name in type(self).model_fields}
        return {**self._options(), **named, "show_progress": None}


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
