"""Ports for servers that tests start."""

from __future__ import annotations

import random
import socket
from contextlib import suppress


def free_port() -> int:
    """Return a free port below those that systems give to connections and to servers that ask for any.

    One of those may be taken, by a server's own processes for example, before the server listens on it.
    """
    # Not the generator that is seeded alike for tests that run in parallel.
    for port in random.SystemRandom().sample(range(20_000, 30_000), 1000):
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("No port from 20000 to 29999 is free.")
