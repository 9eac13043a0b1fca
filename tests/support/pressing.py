"""Ctrl-C at the worst moment, in a destructor, where Python drops what a handler raises; and who hears it."""

from __future__ import annotations

import signal
import sys

# `qwen-embed`, hearing Ctrl-C also where the tests run in the background, whose processes are started deaf to it.
COMMAND = (
    sys.executable,
    "-c",
    "import signal as s; s.signal(s.SIGINT, s.default_int_handler); import qwen_embed_integrations.cli as c; c.main()",
)


class _PressesInDestructor:
    def __init__(self, number: int) -> None:
        self._number = number

    def __del__(self) -> None:
        signal.raise_signal(self._number)


def press_in_destructor(number: int = signal.SIGINT) -> None:
    """Send this process a signal, whose exception is dropped."""
    _PressesInDestructor(number)
