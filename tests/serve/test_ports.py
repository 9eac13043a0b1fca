from __future__ import annotations

import socket
from typing import Any

import pytest

from ports import free_port
from qwen_embed_integrations.errors import ServerConnectionError
from qwen_embed_integrations.serve.ports import is_loopback, require_free, root_url


@pytest.fixture
def taken() -> Any:
    """A port on which something listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with two addresses, as `localhost` is on most machines."""

    def resolve(_: str, port: int, **_settings: Any) -> list[Any]:
        found = [(socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")]
        return [(family, socket.SOCK_STREAM, 0, "", (address, port)) for family, address in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.usefixtures("two_addresses")
def test_a_port_that_is_taken_on_any_address_of_the_host_is_taken(taken: int) -> None:
    with pytest.raises(ServerConnectionError, match=f"`--port` {taken} cannot be used on localhost"):
        require_free([("localhost", taken)], port=taken)


def test_a_second_port_that_a_process_takes_is_looked_at_too(taken: int) -> None:
    port = free_port()
    with pytest.raises(ServerConnectionError, match=f"`--port` {port} needs {taken} too, which cannot be used"):
        require_free([("127.0.0.1", port), ("127.0.0.1", taken)], port=port)


def test_free_ports_are_taken_without_a_word() -> None:
    first, second = free_port(), free_port()
    require_free([("127.0.0.1", first), ("127.0.0.1", second)], port=first)


def test_a_host_that_is_no_address_is_named() -> None:
    with pytest.raises(ServerConnectionError, match=r"`--host` 256\.0\.0\.1"):
        require_free([("256.0.0.1", free_port())], port=1)


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("127.example.com", False),
        ("0.0.0.0", False),  # noqa: S104 nothing listens
        ("::", False),
    ],
)
def test_only_addresses_of_this_machine_are_its_own(host: str, *, alone: bool) -> None:
    assert is_loopback(host) is alone


def test_a_server_that_listens_everywhere_is_reached_here() -> None:
    assert root_url("0.0.0.0", 1) == "http://127.0.0.1:1"  # noqa: S104 nothing listens
    assert root_url("::", 1) == "http://[::1]:1"
