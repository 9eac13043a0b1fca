"""Threads: the bound holds, order holds, the lead is short, and trouble on the wire becomes one typed error."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import loopback
import tiny
from qwen_embed_integrations.errors import (
    BadReplyError,
    InvalidInputError,
    ServerAuthenticationError,
    ServerConnectionError,
)
from qwen_embed_integrations.options import ServedOptions
from qwen_embed_integrations.served.connection import Connection
from qwen_embed_integrations.served.flow import Background, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qwen_embed_integrations import Embedder
    from qwen_embed_integrations.served.flow import Flow

    Make = Callable[..., Embedder]


def texts_of(count: int) -> list[str]:
    return [f"text number {at}" for at in range(count)]


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def connection(server: loopback.Server) -> Iterator[Connection]:
    opened = Connection(ServedOptions(base_url=server.base_url, max_concurrency=2, timeout=5, max_retries=0))
    yield opened
    opened.close()


def test_batches_come_back_in_order_whichever_ends_first(embedder: Make) -> None:
    texts = texts_of(30)

    def answer(batch: list[str]) -> None:
        time.sleep(0.05 if "text number 0" in batch else 0)

    np.testing.assert_allclose(embedder(answer, batch_size=1).embed_documents(texts), tiny.vectors(texts), atol=1e-6)


def test_no_more_requests_are_in_flight_than_allowed(server: loopback.Server, embedder: Make) -> None:
    server.latency = 0.02
    embedder(batch_size=1, max_concurrency=3).embed_documents(texts_of(30))
    assert server.max_in_flight == 3


def test_connections_are_reused(server: loopback.Server, embedder: Make) -> None:
    ours = embedder(batch_size=1, max_concurrency=2)
    for _ in range(5):
        ours.embed_documents(texts_of(4))
    assert server.connections <= 2


def test_flows_are_started_only_a_short_way_ahead(server: loopback.Server, connection: Connection) -> None:
    begun = 0

    def flow() -> Flow[int]:
        yield Request("embeddings", {"input": ["a"]})
        return 0

    def flows() -> Iterator[Flow[int]]:
        nonlocal begun
        for _ in range(1000):
            begun += 1
            yield flow()

    results = connection.run(flows())
    for taken in range(1, 21):
        next(results)
        assert begun - taken <= 2 * 2
    results.close()
    assert len(server.posted()) <= 24


def test_an_error_is_not_followed_by_the_rest_of_the_texts(server: loopback.Server, embedder: Make) -> None:
    with pytest.raises(ServerAuthenticationError):
        embedder(lambda _: (401, {}, {}), batch_size=1, max_concurrency=2).embed_documents(texts_of(500))
    time.sleep(0.1)
    assert len(server.posted()) <= 5


def test_a_flow_nobody_waits_for_any_more_asks_nothing_else(server: loopback.Server, connection: Connection) -> None:
    server.latency = 0.02

    def long_flow() -> Flow[None]:
        for _ in range(100):
            yield Request("embeddings", {"input": ["a"]})

    def failing_flow() -> Flow[None]:
        yield Request("embeddings", {"input": ["a"]})
        raise BadReplyError("no")

    with pytest.raises(BadReplyError):
        list(connection.run([failing_flow(), long_flow()]))
    sent = len(server.posted())
    time.sleep(0.2)
    assert len(server.posted()) <= sent + 1


def asking_beside(path: str) -> Flow[int]:
    """Return a flow that has one more question asked, for which nobody waits."""

    def question() -> Flow[None]:
        yield Request(path)

    yield Request("embeddings", {"input": ["a"]})
    assert (yield Background(question())) == b""
    return 1


def test_a_flow_in_the_background_is_not_waited_for(server: loopback.Server, connection: Connection) -> None:
    answered = threading.Event()
    server.reply(lambda request: answered.wait(60) and None if request.path == "/v1/slow" else None)
    assert list(connection.run([asking_beside("slow")])) == [1]
    assert loopback.soon(lambda: server.requests[-1].path == "/v1/slow")
    assert list(connection.run([asking_beside("other")])) == [1]
    answered.set()


async def test_a_flow_in_the_background_is_not_waited_for_in_an_event_loop(
    server: loopback.Server, connection: Connection
) -> None:
    answered = threading.Event()
    server.reply(lambda request: answered.wait(60) and None if request.path == "/v1/slow" else None)
    assert [done async for done in connection.arun([asking_beside("slow")])] == [1]
    assert await asyncio.to_thread(loopback.soon, lambda: server.requests[-1].path == "/v1/slow")
    assert [done async for done in connection.arun([asking_beside("other")])] == [1]
    answered.set()
    await connection.aclose()


@pytest.mark.parametrize("looped", [False, True])
def test_what_runs_in_the_background_counts_as_in_flight_and_comes_before_what_waits(
    server: loopback.Server, *, looped: bool
) -> None:
    connection = Connection(ServedOptions(base_url=server.base_url, max_concurrency=1, timeout=5, max_retries=0))
    flows = [asking_beside("first"), *(asking_beside(f"later/{number}") for number in range(3))]

    async def collect() -> list[int]:
        done = [each async for each in connection.arun(flows)]
        await connection.aclose()
        return done

    assert (asyncio.run(collect()) if looped else list(connection.run(flows))) == [1] * 4
    connection.close()
    assert server.max_in_flight == 1
    assert [request.path for request in server.requests[:3]] == ["/v1/embeddings", "/v1/first", "/v1/embeddings"]


def test_each_try_of_a_request_has_the_time_it_is_given(server: loopback.Server) -> None:
    given_up = threading.Event()
    server.reply(lambda _: given_up.wait(60) and None)
    connection = Connection(ServedOptions(base_url=server.base_url, timeout=600, max_retries=2))

    def flow() -> Flow[None]:
        yield Request("slow", timeout=0.3)

    with pytest.raises(ServerConnectionError, match="did not answer in time"):
        list(connection.run([flow()]))
    assert len(server.requests) == 3
    connection.close()
    given_up.set()


def test_a_refused_connection_says_what_to_check(embedder: Make) -> None:
    port = closed_port()
    with pytest.raises(ServerConnectionError, match="Is the server running, and is `base_url` right") as caught:
        embedder(base_url=f"http://127.0.0.1:{port}/v1").embed_documents(["a"])
    assert caught.value.url == f"http://127.0.0.1:{port}/v1/embeddings"
    assert caught.value.status is None


async def test_a_refused_connection_says_what_to_check_in_an_event_loop(embedder: Make) -> None:
    with pytest.raises(ServerConnectionError, match="Is the server running, and is `base_url` right"):
        await embedder(base_url=f"http://127.0.0.1:{closed_port()}/v1").aembed_documents(["a"])


def test_a_host_that_does_not_exist_says_what_to_check(embedder: Make) -> None:
    with pytest.raises(ServerConnectionError, match=r"cannot be reached.*is `base_url` right"):
        embedder(base_url="http://no-such-host.invalid/v1").embed_documents(["a"])


def test_a_slow_server_ends_in_advice_about_the_timeout(server: loopback.Server, embedder: Make) -> None:
    given_up = threading.Event()
    ours = embedder(lambda _: given_up.wait(60) and None, timeout=0.1)
    with pytest.raises(ServerConnectionError, match=r"did not answer in time. Raise `timeout`"):
        ours.embed_documents(["a"])
    assert len(server.posted()) == 1
    given_up.set()


def test_a_timeout_is_tried_again(server: loopback.Server, embedder: Make) -> None:
    delays = iter([3])
    ours = embedder(lambda _: time.sleep(next(delays, 0)), timeout=0.5, max_retries=1)
    assert ours.embed_documents(["a"]).shape == (1, tiny.SIZE)
    assert len(server.posted()) == 2


@pytest.mark.parametrize("cut", [loopback.Cut(), loopback.Cut(b'{"data": [', 5000)], ids=["silent", "mid-reply"])
def test_a_connection_cut_off_is_tried_again(server: loopback.Server, embedder: Make, cut: loopback.Cut) -> None:
    cuts = iter([(200, cut, {})])
    assert embedder(lambda _: next(cuts, None), max_retries=1).embed_documents(["a"]).shape == (1, tiny.SIZE)
    assert len(server.posted()) == 2


@pytest.mark.parametrize("cut", [loopback.Cut(), loopback.Cut(b'{"data": [', 5000)], ids=["silent", "mid-reply"])
def test_a_connection_cut_off_again_and_again_is_a_connection_error(
    server: loopback.Server, embedder: Make, cut: loopback.Cut
) -> None:
    with pytest.raises(ServerConnectionError, match="cannot be reached"):
        embedder(lambda _: (200, cut, {}), max_retries=1).embed_documents(["a"])
    assert len(server.posted()) == 2


def test_an_error_whose_body_breaks_off_is_a_connection_error(embedder: Make) -> None:
    with pytest.raises(ServerConnectionError):
        embedder(lambda _: (503, loopback.Cut(b"{", 5000), {})).embed_documents(["a"])


def test_a_server_that_was_restarted_between_calls_is_found_again(server: loopback.Server, embedder: Make) -> None:
    ours = embedder()
    ours.embed_documents(["a"])
    server.close()
    restarted = loopback.Server(loopback.sglang_embedding, port=server.port)
    restarted.reply(loopback.to_embeddings(tiny.answer))
    try:
        assert ours.embed_documents(["b"]).shape == (1, tiny.SIZE)
    finally:
        restarted.close()


def test_results_before_an_outage_are_kept(embedder: Make) -> None:
    ours = embedder(
        lambda batch: (200, loopback.Cut(), {}) if "text number 6" in batch else None, batch_size=2, max_concurrency=1
    )
    with pytest.raises(ServerConnectionError) as caught:
        ours.embed_documents(texts_of(10))
    assert caught.value.completed is not None
    np.testing.assert_allclose(caught.value.completed[:6], tiny.vectors(texts_of(6)), atol=1e-6)
    assert np.isnan(caught.value.completed[6:]).all()


def test_closing_while_another_thread_embeds_gives_it_a_typed_error(server: loopback.Server, embedder: Make) -> None:
    server.latency = 0.05
    ours = embedder(batch_size=1, max_concurrency=2)
    outcome: list[BaseException] = []

    def work() -> None:
        try:
            ours.embed_documents(texts_of(100))
        except BaseException as error:  # noqa: BLE001 any kind is what this looks for
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert loopback.soon(lambda: len(server.posted()) >= 4)
    ours.close()
    thread.join(10)
    assert [type(error) for error in outcome] == [ServerConnectionError]


def test_an_object_can_be_used_again_after_close(embedder: Make) -> None:
    ours = embedder()
    ours.embed_documents(["a"])
    ours.close()
    assert ours.embed_documents(["b"]).shape == (1, tiny.SIZE)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_can_embed_with_its_parents_object(embedder: Make) -> None:
    ours = embedder()
    ours.embed_documents(["a"])
    child = os.fork()
    if child == 0:
        try:
            right = np.allclose(ours.embed_documents(["b"]), tiny.vectors(["b"]), atol=1e-6)
        except BaseException:  # noqa: BLE001 nothing may leave the child but its status
            right = False
        os._exit(0 if right else 1)
    deadline = time.monotonic() + 20
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ended == (child, 0)
    assert ours.embed_documents(["c"]).shape == (1, tiny.SIZE)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_concurrency", 0),
        ("max_concurrency", 2.0),
        ("max_concurrency", None),
        ("max_concurrency", True),
        ("max_retries", -1),
        ("max_retries", None),
        ("max_retries", 1.5),
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", None),
        ("timeout", "5"),
        ("timeout", float("nan")),
        ("timeout", float("inf")),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(embedder: Make, name: str, value: Any) -> None:
    with pytest.raises(InvalidInputError, match=f"`{name}` is") as caught:
        embedder(**{name: value})
    assert caught.value.parameter == name
