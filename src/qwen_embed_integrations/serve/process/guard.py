"""Run a command, and end it with everything it started when its caller is gone.

    python guard.py SECONDS COMMAND ...

Standard input ties it to the caller: it closes when the caller closes it or dies, however it dies. Then everything
gets SIGTERM, and SIGKILL if it is still there after so many seconds. A script of its own, which needs nothing of this
package.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_PAUSE = 0.1


def _set(option: int, value: int) -> None:
    """Set an attribute of this process, on Linux."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _reap() -> dict[int, int]:
    """Take in every child that has ended, adopted ones too, and return their exit codes."""
    ended = {}
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended[pid] = os.waitstatus_to_exitcode(status)
    return ended


def _adopted() -> list[int]:
    """Return the children this process has, those included that left the group and lost their parent."""
    with suppress(OSError):
        pid = os.getpid()
        return [int(pid) for pid in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    return []


def _end(group: int, seconds: float) -> dict[int, int]:
    """End all processes of a group, and all that came to be children of this process."""
    ended: dict[int, int] = {}
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + seconds
        signalled: set[int] = set()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
        while True:
            for pid in set(_adopted()) - signalled:
                signalled.add(pid)
                with suppress(ProcessLookupError, PermissionError):
                    if os.getpgid(pid) != group:
                        os.kill(pid, number)
            ended |= _reap()
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, 0)
                if time.monotonic() < deadline:
                    time.sleep(_PAUSE)
                    continue
                break
            if not _adopted():
                return ended
            if time.monotonic() >= deadline:
                break
            time.sleep(_PAUSE)
    return ended


def main(seconds: float, command: list[str]) -> int:
    """Run the command to its end, or to the caller's.

    Args:
        seconds: How long it may take to end by itself once it is told to.
        command: Program and arguments.

    Returns:
        Its exit status, 128 and the signal's number where a signal ended it.
    """
    stop = threading.Event()
    # Handlers, since a signal that is ignored stays ignored in what is started. Ctrl-C reaches a whole terminal; the
    # caller decides.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGHUP, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    _set(_PR_SET_CHILD_SUBREAPER, 1)
    child = subprocess.Popen(  # noqa: S603 what the caller runs
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: _set(_PR_SET_PDEATHSIG, signal.SIGTERM),  # noqa: PLW1509 no thread runs yet
    )

    def watch() -> None:
        with suppress(OSError):
            while os.read(0, 4096):
                pass
        stop.set()

    threading.Thread(target=watch, daemon=True).start()
    ended: dict[int, int] = {}
    while child.pid not in ended and not stop.wait(_PAUSE):
        ended |= _reap()
    ended |= _end(child.pid, seconds)
    code = child.returncode = ended.get(child.pid, 128 + signal.SIGKILL)
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
