"""Signals that end the command line: raised as usual, and raised again where Python dropped the exception.

A signal's exception is raised wherever the main thread happens to be. In a destructor or in a callback from C Python
reports it to `sys.unraisablehook` and goes on as if nothing had happened. So a signal is noted too: `check`, called
between steps, raises what was noted and not honoured, and what the hook hears of is raised again a moment later.
A second signal ends the process at once.

Nothing is installed on import: the command line does it, for as long as it runs. Without that `check` does nothing and
`wait` only waits.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from concurrent import futures
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")

SHELL_STATUS = 128
"""What a shell adds to the number of the signal that ended a process."""

_SLICE = 0.2  # seconds between two checks of a wait
_AGAIN_AFTER = 0.05  # seconds until a dropped exception is raised again: by then its destructor is left
_SHOW_CURSOR = b"\x1b[?25h"


class _Signal:
    """A signal that came, told apart from one that came in an earlier block."""

    def __init__(self, number: int) -> None:
        self.number = number

    def error(self) -> BaseException:
        return KeyboardInterrupt() if self.number == signal.SIGINT else SystemExit(SHELL_STATUS + self.number)

    def raised(self, error: BaseException | None) -> bool:
        """Whether an exception is what is raised for this signal."""
        if self.number == signal.SIGINT:
            return isinstance(error, KeyboardInterrupt)
        return isinstance(error, SystemExit) and error.code == SHELL_STATUS + self.number

    def is_handled(self) -> bool:
        """Whether this runs in an `except`, `finally` or `with` that its exception has reached."""
        error = sys.exc_info()[1]
        while error is not None:
            if self.raised(error):
                return True
            error = error.__context__
        return False


class _State:
    """Of the whole process, as signal handlers are."""

    def __init__(self) -> None:
        self.blocks = 0  # how many are open
        self.noted: _Signal | None = None  # the signal that came first
        self.raising_again = False  # the next call of the handler is no new signal
        self.closing = False  # handlers are being put back: nothing is raised
        self.lock = threading.Lock()


_state = _State()


@contextmanager
def noted(*signals: int) -> Iterator[None]:
    """Note signals, and raise KeyboardInterrupt for SIGINT and SystemExit for any other.

    Handlers and hooks are put back at the end. In any other thread than the main one this does nothing. The exception
    is to end the block: what catches it inside and goes on gets it again at the next check.

    Args:
        signals: Numbers of the signals.

    Raises:
        KeyboardInterrupt: At the end of the block, if a SIGINT was dropped and nothing has raised it again.
        SystemExit: The same for any other signal, with the status that a shell gives it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous_hook = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        came = _state.noted
        if came is None or not came.raised(unraisable.exc_value):
            previous_hook(unraisable)
        elif threading.current_thread() is threading.main_thread():
            # Not threading.Thread, whose locks the interrupted code may hold.
            _thread.start_new_thread(_raise_again_soon, (came,))

    _state.blocks += 1
    previous_handlers = {number: signal.signal(number, _handle) for number in signals}
    sys.unraisablehook = hook
    try:
        yield
    finally:
        _state.closing = True
        with _state.lock:
            _state.blocks -= 1
        sys.unraisablehook = previous_hook
        for number, handler in previous_handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: not Python's, and not to be put back from here
        came = _state.noted
        if not _state.blocks:
            _state.noted, _state.raising_again = None, False
        _state.closing = False
        if came is not None and not came.is_handled():
            raise came.error()


def not_ignored(*signals: int) -> tuple[int, ...]:
    """Return those signals that this process was not started to ignore, as `nohup` and a shell's `&` may do."""
    return tuple(number for number in signals if signal.getsignal(number) is not signal.SIG_IGN)


def check() -> None:
    """Raise what was noted, unless it is just being handled.

    Raises:
        KeyboardInterrupt: If a SIGINT was noted.
        SystemExit: If another signal was noted.
    """
    came = _state.noted
    if came is not None and threading.current_thread() is threading.main_thread() and not came.is_handled():
        raise came.error()


def wait(future: futures.Future[T]) -> T:
    """Wait for a future, with checks where signals are noted.

    Args:
        future: A future that another thread completes.

    Returns:
        Its result.

    Raises:
        KeyboardInterrupt: If a SIGINT was noted.
        SystemExit: If another signal was noted.
    """
    if not _state.blocks or threading.current_thread() is not threading.main_thread():
        return future.result()
    while True:
        check()
        try:
            return future.result(timeout=_SLICE)
        except futures.TimeoutError:  # of this wait, or the future's own error
            if future.done():
                return future.result()


def _handle(number: int, _: object) -> None:
    if _state.raising_again:
        _state.raising_again = False
        if not _state.closing:
            check()
        return
    if _state.noted is not None and not _state.closing:
        _end_at_once(number)
    _state.noted = _state.noted or _Signal(number)
    if not _state.closing:
        raise _state.noted.error()


def _end_at_once(number: int) -> NoReturn:
    """End the process without its cleanup, which the first signal began and which takes too long."""
    if os.name == "posix" and os.isatty(2):
        os.write(2, _SHOW_CURSOR)  # a progress bar hides it
    os._exit(SHELL_STATUS + number)


def _raise_again_soon(came: _Signal) -> None:
    time.sleep(_AGAIN_AFTER)
    with _state.lock:
        # Unless the block has ended, and the signal with it.
        if _state.blocks and _state.noted is came and signal.getsignal(came.number) is _handle:
            _state.raising_again = True
            _thread.interrupt_main(signal.Signals(came.number))  # calls the handler in the main thread
