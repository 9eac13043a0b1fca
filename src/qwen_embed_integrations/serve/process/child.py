"""Child processes: started, their output passed on, and ended when this process ends."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_GUARD = Path(__file__).with_name("guard.py")
_KEPT_LINES = 300


class Output:
    """Where the lines of all processes go: marked, and without secrets."""

    def __init__(self, stream: TextIO, secrets: Sequence[str] = ()) -> None:
        self._stream = stream
        self._secrets = tuple(filter(None, secrets))
        self._lock = threading.Lock()

    def write(self, label: str, line: str) -> str:
        """Write a line, and return it as it was written, without its mark."""
        for secret in self._secrets:
            line = line.replace(secret, "***")
        with self._lock, suppress(OSError, ValueError):  # a stream that is gone must not end the server
            self._stream.write(f"[{label}] {line}" if label else line)
            self._stream.flush()
        return line


class Child:
    """A process with all that it starts.

    Attributes:
        label: What its lines are marked with.
    """

    def __init__(
        self, label: str, argv: Sequence[str], environment: Mapping[str, str], output: Output, *, grace: float
    ) -> None:
        """Start it.

        Args:
            label: What its lines are marked with; empty for none.
            argv: Program and arguments.
            environment: All its environment variables.
            output: Where its lines go.
            grace: Seconds that it may take to end by itself.
        """
        self.label = label
        self._output = output
        self._grace = grace
        self._tail: deque[str] = deque(maxlen=_KEPT_LINES)
        # A session of its own, so that Ctrl-C reaches this process alone, which then ends the others in order.
        self._guard = subprocess.Popen(  # noqa: S603 what `qwen-embed serve` is to run
            [sys.executable, "-I", str(_GUARD), str(grace), *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=dict(environment),
        )
        self._reader = threading.Thread(target=self._read_lines, daemon=True)
        self._reader.start()

    def _read_lines(self) -> None:
        if self._guard.stdout is None:
            return
        # Lines end as they did, so that progress bars stay in their line.
        with open(self._guard.stdout.fileno(), encoding="utf-8", errors="replace", newline="", closefd=False) as lines:
            for line in lines:
                self._tail.append(self._output.write(self.label, line).rstrip())

    @property
    def status(self) -> int | None:
        """Exit status, 128 and the signal's number where a signal ended it; None while it runs."""
        code = self._guard.poll()
        return 128 - code if code is not None and code < 0 else code

    @property
    def tail(self) -> list[str]:
        """The last lines it wrote."""
        if self.status is not None:
            self._reader.join(timeout=2)
        return [line for line in self._tail if line.strip()]

    def ask_to_end(self) -> None:
        """Ask it to end, without waiting."""
        if self._guard.stdin is not None:
            with suppress(OSError):
                self._guard.stdin.close()

    def wait(self) -> None:
        """Wait until it is gone, with all that it started."""
        self.ask_to_end()
        try:
            self._guard.wait(timeout=2 * self._grace + 5)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()
        self._reader.join(timeout=2)
        if self._guard.stdout is not None:
            self._guard.stdout.close()


def environment_with_plain_output(variables: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which Python programs write their lines at once."""
    return {**variables, "PYTHONUNBUFFERED": os.environ.get("PYTHONUNBUFFERED", "1")}
