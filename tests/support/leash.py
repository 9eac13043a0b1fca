"""Run a command and end it, with all it started, when whoever started this ends: `python leash.py COMMAND ...`.

Standard input is the leash. It closes with the process that holds its other end, however that one dies.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    os.setsid()
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)  # noqa: S603 the command is the point
    threading.Thread(target=_end_after, args=(command.wait,), daemon=True).start()
    _end_after(lambda: os.read(0, 1))


def _end_after(wait: Callable[[], object]) -> None:
    wait()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
