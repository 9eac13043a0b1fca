"""No server outlives the tests, however they end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

import leash

# Starts a command on a leash, tells its process id, and waits.
HOLDER = """
import subprocess, sys, time
held = subprocess.Popen([sys.executable, sys.argv[1], sys.executable, "-c", sys.argv[2]], stdin=subprocess.PIPE)
time.sleep(600)
"""
# A server as these are: a process that starts another.
SERVER = """
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
time.sleep(600)
"""


def test_a_server_ends_with_the_process_that_started_it_even_when_that_is_killed() -> None:
    command = [sys.executable, "-c", HOLDER, str(Path(leash.__file__)), SERVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:  # noqa: S603 our own program
        assert holder.stdout is not None
        grandchild = psutil.Process(int(holder.stdout.readline()))
        holder.send_signal(signal.SIGKILL)
    while grandchild.is_running() and grandchild.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.05)
