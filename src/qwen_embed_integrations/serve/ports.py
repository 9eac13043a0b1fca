"""Where a server listens, and how this machine reaches it."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import TYPE_CHECKING, Any

from qwen_embed_integrations.errors import ServerConnectionError

if TYPE_CHECKING:
    from collections.abc import Iterable

LOOPBACK = "127.0.0.1"
_ANY_ADDRESS = {"0.0.0.0": LOOPBACK, "::": "::1", "": LOOPBACK}  # noqa: S104 read, not bound


def reachable(host: str) -> str:
    """Return the address under which this machine reaches a server that listens on `host`."""
    return _ANY_ADDRESS.get(host, host)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def root_url(host: str, port: int) -> str:
    """Return the address of a server, for this machine."""
    name = reachable(host)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}"


def require_free(addresses: Iterable[tuple[str, int]], *, port: int) -> None:
    """Refuse a service whose processes could not listen where they are to.

    Args:
        addresses: Every host and port that they listen on.
        port: The one that the caller chose.

    Raises:
        ServerConnectionError: If a host is none of this machine's, or a port is taken.
    """
    for host, needed in addresses:
        _require_free(host, needed, port)


def _require_free(host: str, port: int, chosen: int) -> None:
    try:
        addresses = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise ServerConnectionError(f"`--host` {host} is no address of this machine: {error.strerror}.") from error
    # Every address of the name: what listens on another of them would be taken for the server.
    refused = [error for error in (_bind(*address) for address in addresses) if error is not None]
    taken = [error for error in refused if error.errno == errno.EADDRINUSE]
    if taken or len(refused) == len(addresses):
        cause = (taken or refused)[0]
        needs = f"{chosen} needs {port} too, which" if port != chosen else f"{port}"
        raise ServerConnectionError(
            f"`--port` {needs} cannot be used on {host}: {cause.strerror}. Pick another, or end what listens there."
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
