"""What a service consists of: the processes, and where each listens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwen_embed_integrations.serve.ports import LOOPBACK

if TYPE_CHECKING:
    from qwen_embed_integrations.serve.command_line import Command


@dataclass(frozen=True)
class Process:
    """One process of a service.

    Attributes:
        label: What its lines are marked with; empty where it is the only one.
        command: How it is started.
        host: Where it listens.
        port: Where it listens.
        ready: Path that answers 200 when it is ready.
        metrics_port: Second port that it takes, on loopback; None where it takes none.
    """

    label: str
    command: Command
    host: str
    port: int
    ready: str = "/health"  # SGLang's runs a forward pass, so that a server that answers can compute
    metrics_port: int | None = None

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Every host and port it listens on."""
        metrics = [] if self.metrics_port is None else [(LOOPBACK, self.metrics_port)]
        return [(self.host, self.port), *metrics]


@dataclass(frozen=True)
class Service:
    """The processes that together serve a model.

    Attributes:
        processes: In the order they are started.
        replaced_flags: Names of flags that the caller's own options replaced.
    """

    processes: tuple[Process, ...]
    replaced_flags: tuple[str, ...] = ()

    @property
    def front(self) -> Process:
        """The process that clients speak to."""
        return self.processes[-1]

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Every host and port that its processes listen on."""
        return [address for process in self.processes for address in process.addresses]
