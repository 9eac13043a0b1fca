from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qwen_embed_integrations.serve.process import guard

pytestmark = pytest.mark.skipif(os.name == "nt", reason="engines run on Linux")

SLEEPS = "import time; time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
# Starts two processes, one of which leaves the group, prints their ids, and sleeps.
FAMILY = f"""
import subprocess, sys, time
for apart in (False, True):
    child = subprocess.Popen([sys.executable, "-c", {DEAF!r}], stdout=subprocess.PIPE, start_new_session=apart)
    child.stdout.readline()
    print(child.pid, flush=True)
time.sleep(600)
"""


def start(code: str, *, seconds: float = 0.5) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 our own code
        [sys.executable, "-I", str(Path(guard.__file__)), str(seconds), sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def wait_until_gone(*pids: int) -> None:
    """Wait for processes to end, as long as the test may last."""
    while any(map(runs, pids)):
        time.sleep(0.05)


def test_the_commands_own_status_is_passed_on() -> None:
    with start("raise SystemExit(7)") as started:
        assert started.wait() == 7


def test_a_signal_that_ended_the_command_is_told_as_a_shell_does() -> None:
    with start("import os, signal; os.kill(os.getpid(), signal.SIGKILL)") as started:
        assert started.wait() == 128 + 9


def test_closing_standard_input_ends_the_command() -> None:
    with start(f"print('up', flush=True); {SLEEPS}", seconds=600) as started:
        assert started.stdout is not None
        assert started.stdin is not None
        started.stdout.readline()
        started.stdin.close()
        assert started.wait() == 128 + 15  # it listened to SIGTERM: SIGKILL comes too late for this test


@pytest.mark.skipif(sys.platform != "linux", reason="looks in /proc")
def test_what_does_not_listen_and_what_left_the_group_end_too() -> None:
    with start(FAMILY) as started:
        assert started.stdout is not None
        assert started.stdin is not None
        family = [int(started.stdout.readline()) for _ in range(2)]
        assert all(map(runs, family))
        started.stdin.close()
        started.wait()
        wait_until_gone(*family)


@pytest.mark.skipif(sys.platform != "linux", reason="looks in /proc")
def test_what_a_command_leaves_behind_ends_with_it() -> None:
    leaves = FAMILY.replace("time.sleep(600)\n", "")
    with start(leaves) as started:
        assert started.stdout is not None
        family = [int(started.stdout.readline()) for _ in range(2)]
        started.wait()
        wait_until_gone(*family)
