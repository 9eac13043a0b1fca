"""A server that is killed in the middle of a call, and comes back or does not."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from loopback import soon
from qwen_embed_integrations import Embedder
from qwen_embed_integrations.errors import ServerConnectionError
from real_servers import EMBEDDER_ARGS
from recipes import last_token_vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from qwen_embed_integrations import ModelProfile
    from real_servers import RealServer, RealServers

    Make = Callable[..., Embedder]

REPEATED = 30


@pytest.fixture(scope="module")
def mortal(start: RealServers, tiny_embedder: Path) -> RealServer:
    """A server of these tests' own."""
    return start.new("sglang", tiny_embedder, *EMBEDDER_ARGS["sglang"])


@pytest.fixture
def server(mortal: RealServer) -> RealServer:
    """The same, running and ready."""
    if not mortal.alive:
        mortal.start()
    mortal.wait()
    return mortal


@pytest.fixture
def embedder(server: RealServer, tiny_embedder: Path, tiny_profile: ModelProfile) -> Iterator[Make]:
    made: list[Embedder] = []

    def make(**settings: int) -> Embedder:
        address = {"base_url": server.root_url, "profile": tiny_profile}
        made.append(Embedder.served(str(tiny_embedder), **address, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_calls_under_way_outlast_a_restart(
    server: RealServer, embedder: Make, tiny_embedder: Path, texts: list[str]
) -> None:
    # The server needs the better part of a minute; waits between tries grow to 8 seconds.
    threaded, looped = (embedder(batch_size=8, max_concurrency=2, max_retries=60) for _ in range(2))
    many = texts * REPEATED
    found: dict[str, np.ndarray] = {}
    calls = [
        threading.Thread(target=lambda: found.update(threaded=threaded.embed_documents(many))),
        threading.Thread(target=lambda: found.update(looped=asyncio.run(looped.aembed_documents(many)))),
    ]
    for call in calls:
        call.start()
    assert soon(lambda: min(threaded.usage.requests, looped.usage.requests) > 5, within=60)
    server.kill()
    answered = threaded.usage.requests + looped.usage.requests
    server.start()
    server.wait()
    for call in calls:
        call.join(120)
    assert answered < threaded.usage.requests + looped.usage.requests
    wanted = np.tile(last_token_vectors(tiny_embedder, texts), (REPEATED, 1))
    np.testing.assert_allclose(found["threaded"], wanted, atol=1e-5)
    np.testing.assert_allclose(found["looped"], wanted, atol=1e-5)


def test_a_server_that_stays_away_ends_in_an_error_that_carries_what_was_done(
    server: RealServer, embedder: Make, tiny_embedder: Path, texts: list[str]
) -> None:
    ours = embedder(batch_size=8, max_concurrency=2, max_retries=1)
    many = texts * REPEATED
    killer = threading.Thread(target=lambda: soon(lambda: ours.usage.requests > 5, within=60) and server.kill())
    killer.start()
    with pytest.raises(ServerConnectionError, match="cannot be reached") as caught:
        ours.embed_documents(many)
    killer.join()
    assert caught.value.completed is not None
    done = np.isfinite(caught.value.completed).all(axis=1)
    assert 8 <= done.sum() < len(many)
    wanted = np.tile(last_token_vectors(tiny_embedder, texts), (REPEATED, 1))
    np.testing.assert_allclose(caught.value.completed[done], wanted[done], atol=1e-5)
