"""Start a service, wait until it is ready, and keep it until it ends or is ended."""

from __future__ import annotations

import errno
import http.client
import os
import re
import signal
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from qwen_embed_integrations.errors import QwenEmbedError, ServerConnectionError
from qwen_embed_integrations.serving.processes import Child, Output, environment_with_plain_output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from qwen_embed_integrations.serving.plan import Plan, Process

GRACE = 15.0
"""Seconds a server may take to end once it is told to; SGLang takes about 7."""

_PAUSE = 0.5
_PROBE_TIMEOUT = 30.0  # SGLang answers /health after a forward pass, and gives up on it after 20 seconds
_CAUSE = re.compile(r"(?:^|\s)((?:\w+\.)*\w*(?:Error|Exception)\b: .+|.*\berror: .+)$")
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 read, not bound


class ServiceEndedError(QwenEmbedError):
    """A server ended by itself.

    Attributes:
        tail: The last lines it wrote.
    """

    def __init__(self, message: str, tail: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.tail = tuple(tail)


def reachable(host: str) -> str:
    """Return the address under which this machine reaches a server that listens on `host`."""
    return _EVERYWHERE.get(host, host)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`."""
    return host == "localhost" or host.startswith("127.") or host == "::1"


def root_url(host: str, port: int) -> str:
    """Return the address of a server, for this machine."""
    name = reachable(host)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}"


def run(plan: Plan, output: Output, *, timeout: float, ready: Callable[[float], None]) -> NoReturn:
    """Run a service until it ends.

    Args:
        plan: What to start.
        output: Where the lines of its processes go.
        timeout: Seconds until it must be ready.
        ready: Called once it is, with the seconds that took.

    Raises:
        ServiceEndedError: If one of its processes ends, or is not ready in time.
        ServerConnectionError: If a port is taken.
        SystemExit: When a signal ended it: 130 for Ctrl-C, 143 for SIGTERM, 129 for a closed terminal.
    """
    for process in plan.processes:
        _require_free(process.host, process.port)
    children: list[Child] = []
    with _signals_end_this():
        try:
            started = time.monotonic()
            workers = plan.processes[:-1]
            children += [_start(process, output) for process in workers]
            for process in workers:
                _wait_until_ready(process, children, started, timeout)
            # Last, since a router that waits for its workers does so in silence.
            children.append(_start(plan.front, output))
            _wait_until_ready(plan.front, children, started, timeout)
            ready(time.monotonic() - started)
            while True:
                _require_running(children)
                time.sleep(_PAUSE)
        finally:
            for child in children:
                child.tell_to_end()
            for child in children:
                child.wait()


def _start(process: Process, output: Output) -> Child:
    variables = environment_with_plain_output(process.command.variables(os.environ))
    return Child(process.label, process.command.argv(os.environ), variables, output, grace=GRACE)


def _require_free(host: str, port: int) -> None:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise ServerConnectionError(f"`--host` {host} is no address of this machine: {error.strerror}.") from error
    # Every address of the name: what listens on another of them would be taken for the server.
    refused = [error for error in (_bind(*each) for each in found) if error is not None]
    taken = [error for error in refused if error.errno == errno.EADDRINUSE]
    if taken or len(refused) == len(found):
        cause = (taken or refused)[0]
        raise ServerConnectionError(
            f"`--port` {port} cannot be used on {host}: {cause.strerror}. Pick another, or end what listens there."
        ) from cause


def _bind(family: int, kind: int, protocol: int, _: str, address: tuple[Any, ...]) -> OSError | None:
    """Return why a server could not listen on an address; None if it could."""
    try:
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            trial.listen()
    except OSError as error:
        return error
    return None


def _wait_until_ready(process: Process, children: Sequence[Child], started: float, timeout: float) -> None:
    while not _answers(process):
        _require_running(children)
        if time.monotonic() - started > timeout:
            raise ServiceEndedError(
                f"it was not ready after {timeout:.0f} s. Give it longer with --timeout; its last lines may say why.",
                children[-1].tail,
            )
        time.sleep(_PAUSE)


def _answers(process: Process) -> bool:
    # Not through a proxy: this machine is meant.
    connection = http.client.HTTPConnection(reachable(process.host), process.port, timeout=_PROBE_TIMEOUT)
    try:
        connection.request("GET", process.ready)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _require_running(children: Sequence[Child]) -> None:
    for child in children:
        if child.status is not None:
            who = f"process {child.label}" if child.label else "the server"
            raise ServiceEndedError(f"{who} ended with status {child.status}{_cause(child.tail)}.", child.tail)


def _cause(tail: Sequence[str]) -> str:
    """Return the last line that names an error, which often stands before many that do not."""
    for line in reversed(tail):
        found = _CAUSE.search(line)
        if found and "root cause above" not in line:  # as vLLM's last line says
            return f": {found[1].strip()[:500].rstrip('.')}"
    return ""


@contextmanager
def _signals_end_this() -> Iterator[None]:
    """Turn signals into an exit that passes through every `finally`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _: object) -> NoReturn:
        raise SystemExit(128 + number)

    # Ctrl-C too: what a script starts in the background is born deaf to it. Not so where nohup asked for deafness.
    wanted = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        wanted.append(signal.SIGHUP)
    before = [signal.signal(number, leave) for number in wanted]
    try:
        yield
    finally:
        for number, handler in zip(wanted, before, strict=True):
            signal.signal(number, handler)
