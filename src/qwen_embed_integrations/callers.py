"""Warnings that point at the line of the user's code that led to them, through frameworks and event loops.

`warnings.warn(..., skip_file_prefixes=...)` does part of this from Python 3.12 on.
"""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_PACKAGE = __name__.partition(".")[0]
# What stands between the user's line and this package.
_LIBRARIES = frozenset({
    _PACKAGE, "asyncio", "concurrent", "contextlib", "functools", "langgraph", "pydantic", "tenacity", "threading",
    "tqdm", "uvloop", "wrapt",
})  # fmt: skip
# With their many packages: langchain_core, langchain_chroma, … Installed ones only: a user's module may be called so.
_FAMILIES = ("langchain", "llama_index")
_INSTALLED = ("site-packages", "dist-packages")


class _Place(NamedTuple):
    """A line of code, as `warnings.warn_explicit` wants it."""

    filename: str
    line: int
    names: dict[str, Any]  # the globals of its module


_entered: ContextVar[_Place | None] = ContextVar("entered", default=None)


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn at the first line outside this package, the frameworks and the event loop.

    Python's default filter shows a message once for each line. Where no line of the caller is known, since a task or a
    thread was started with a call of this package, the message is shown every time.

    Args:
        message: What is wrong and what to do.
        category: Kind of the warning.
    """
    place = _direct_caller() or _entered.get()
    if place is not None:
        registry = place.names.setdefault("__warningregistry__", {})
    else:
        place, registry = _nearest(), {}
    warnings.warn_explicit(
        message,
        category,
        place.filename,
        place.line,
        module=place.names.get("__name__"),
        registry=registry,
        module_globals=place.names,
    )


@contextmanager
def remember_caller() -> Iterator[None]:
    """Have warnings in the tasks that are started here point at the line that called us."""
    token = _entered.set(_direct_caller())
    try:
        yield
    finally:
        _entered.reset(token)


def _direct_caller() -> _Place | None:
    """Return the user's line that called or awaits this, or None if an event loop or a thread stands between."""
    for frame in _frames():
        if _module(frame) in {"asyncio", "threading", "uvloop"}:
            return None
        if not _is_library(frame):
            return _place(frame)
    return None


def _nearest() -> _Place:
    """Return the nearest line of the user's, be it the one that runs the event loop, or of a library."""
    frames = list(_frames())
    outside = [frame for frame in frames if _module(frame) != _PACKAGE]
    users = [frame for frame in outside if not _is_library(frame)]
    return _place((users or outside or frames)[0])


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 what `warnings` and `logging` use for the same
    while frame is not None:
        yield frame
        frame = frame.f_back


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_library(frame: FrameType) -> bool:
    module = _module(frame)
    if module in _LIBRARIES:
        return True
    return module.startswith(_FAMILIES) and any(folder in frame.f_code.co_filename for folder in _INSTALLED)


def _place(frame: FrameType) -> _Place:
    return _Place(frame.f_code.co_filename, frame.f_lineno, frame.f_globals)
