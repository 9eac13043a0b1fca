"""Signals at the worst moment: in a destructor, where Python drops what a handler raises."""

from __future__ import annotations

import signal


class _PressesInDestructor:
    def __init__(self, number: int) -> None:
        self._number = number

    def __del__(self) -> None:
        signal.raise_signal(self._number)


def press_in_destructor(number: int = signal.SIGINT) -> None:
    """Send this process a signal, whose exception is dropped."""
    _PressesInDestructor(number)
