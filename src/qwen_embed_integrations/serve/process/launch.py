"""Start a service, wait until it is ready, and keep it until it ends or is ended."""

from __future__ import annotations

import http.client
import os
import re
import signal
import time
from typing import TYPE_CHECKING, NoReturn

from qwen_embed_integrations import interrupts
from qwen_embed_integrations.errors import QwenEmbedError
from qwen_embed_integrations.serve.ports import reachable
from qwen_embed_integrations.serve.process.child import Child, Output, environment_with_plain_output

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qwen_embed_integrations.serve.service import Process, Service

GRACE = 15.0
"""Seconds that a server may take to end by itself; SGLang takes about 7."""

_PAUSE = 0.5
_PROBE_TIMEOUT = 30.0  # SGLang answers /health after a forward pass, and gives up on it after 20 seconds
_CAUSE = re.compile(r"(?:^|\s)((?:\w+\.)*\w*(?:Error|Exception)\b: .+|.*\berror: .+)$")


class ServiceEndedError(QwenEmbedError):
    """A server ended by itself.

    Attributes:
        tail: The last lines it wrote.
    """

    def __init__(self, message: str, tail: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.tail = tuple(tail)


def run(service: Service, output: Output, *, timeout: float, ready: Callable[[float], None]) -> NoReturn:
    """Run a service until it ends.

    Args:
        service: What to start.
        output: Where the lines of its processes go.
        timeout: Seconds until it must be ready.
        ready: Called once it is, with the seconds that took.

    Raises:
        ServiceEndedError: If one of its processes ends, or is not ready in time.
        KeyboardInterrupt: When Ctrl-C ended it.
        SystemExit: When another signal ended it: status 143 for SIGTERM, 129 for a closed terminal.
    """
    children: list[Child] = []
    # Ctrl-C too: what a script starts in the background ignores it. A hangup stays ignored, since nohup wants that.
    with interrupts.noted(signal.SIGINT, signal.SIGTERM, *interrupts.not_ignored(signal.SIGHUP)):
        try:
            started = time.monotonic()
            workers = service.processes[:-1]
            children += [_start(process, output) for process in workers]
            for process, child in zip(workers, tuple(children), strict=True):
                _wait_until_ready(process, child, children, started, timeout)
            # Last, since a router that waits for its workers does so in silence.
            children.append(_start(service.front, output))
            _wait_until_ready(service.front, children[-1], children, started, timeout)
            ready(time.monotonic() - started)
            while True:
                interrupts.check()
                _require_running(children)
                time.sleep(_PAUSE)
        finally:
            for child in children:
                child.ask_to_end()
            for child in children:
                child.wait()


def _start(process: Process, output: Output) -> Child:
    variables = environment_with_plain_output(process.command.variables(os.environ))
    return Child(process.label, process.command.argv(os.environ), variables, output, grace=GRACE)


def _wait_until_ready(
    process: Process, child: Child, children: Sequence[Child], started: float, timeout: float
) -> None:
    while not _answers(process):
        interrupts.check()
        _require_running(children)
        if time.monotonic() - started > timeout:
            raise ServiceEndedError(
                f"{_name(child)} was not ready after {timeout:.0f} s. Give it longer with --timeout; its last lines "
                "may say why.",
                child.tail,
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
            raise ServiceEndedError(
                f"{_name(child)} ended with {_describe(child.status)}{_cause(child.tail)}.", child.tail
            )


def _name(child: Child) -> str:
    return f"process {child.label}" if child.label else "the server"


def _describe(status: int) -> str:
    """Name an exit status, and the signal in it."""
    try:
        name = signal.Signals(status - interrupts.SHELL_STATUS).name
    except ValueError:
        return f"status {status}"
    return f"status {status} ({name}{', as when memory runs out' if name == 'SIGKILL' else ''})"


def _cause(tail: Sequence[str]) -> str:
    """Return the last line that names an error, which often stands before many that do not."""
    for line in reversed(tail):
        match = _CAUSE.search(line)
        if match and "root cause above" not in line:  # as vLLM's last line says
            return f": {match[1].strip()[:500].rstrip('.')}"
    return ""
