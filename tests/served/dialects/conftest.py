from __future__ import annotations

import socket
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from qwen_embed_integrations import Embedder, ModelProfile, Reranker
from qwen_embed_integrations.options import ServedOptions
from qwen_embed_integrations.served.address import root_of
from qwen_embed_integrations.served.connection import Connection
from qwen_embed_integrations.served.probe import probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import loopback
    from qwen_embed_integrations import ServerInfo


@pytest.fixture
def recognised(server: loopback.Server) -> Callable[..., ServerInfo]:
    """Ask the server what it is."""

    def ask(model: str | None = None) -> ServerInfo:
        connection = Connection(ServedOptions(base_url=server.base_url, max_concurrency=1, timeout=5, max_retries=0))
        (found,) = connection.run([probe(root_of(connection.base_url), model=model)])
        connection.close()
        server.requests.clear()
        return found

    return ask


@pytest.fixture
def embedder(server: loopback.Server) -> Iterator[Callable[..., Embedder]]:
    """Make an embedder of a model without a prompt, or of a known one."""
    made: list[Embedder] = []

    def make(model: str, **settings: Any) -> Embedder:
        profile = ModelProfile(name=model, min_dimensions=1)
        settings = {"base_url": server.base_url, "profile": profile, "max_retries": 0} | settings
        made.append(Embedder.served(model, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def reranker(server: loopback.Server) -> Iterator[Callable[..., Reranker]]:
    """Make a reranker."""
    made: list[Reranker] = []

    def make(model: str, **settings: Any) -> Reranker:
        settings = {"base_url": server.base_url, "max_retries": 0} | settings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made.append(Reranker.served(model, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def at_host(server: loopback.Server, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Make a name of a host lead to the loopback server."""
    real = socket.getaddrinfo
    names: set[str] = set()

    def resolve(host: Any, *args: Any, **settings: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return real("127.0.0.1" if name in names else host, *args, **settings)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    def lead(host: str) -> str:
        names.add(host)
        return f"http://{host}:{server.port}"

    return lead
