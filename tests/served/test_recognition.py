"""Recognition: a server of the wrong kind is refused before its nonsense is believed, and nobody waits for it long."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import loopback
import tiny
from qwen_embed_integrations.errors import (
    EndpointNotFoundError,
    ServerBusyError,
    ServerConnectionError,
    WrongServerError,
)
from qwen_embed_integrations.options import ServedOptions
from qwen_embed_integrations.served import questions, recognition
from qwen_embed_integrations.served.recognition import Recognition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qwen_embed_integrations import Embedder, Reranker
    from qwen_embed_integrations.served.flow import Flow, Request

    Make = Callable[..., Embedder]
    MakeReranker = Callable[..., Reranker]

SGLANG_EMBEDDING = {"model_path": "m", "is_generation": False, "architectures": ["Qwen3ForCausalLM"]}
SGLANG_DECODER = {"model_path": "m", "is_generation": True, "architectures": ["Qwen3ForCausalLM"]}
SGLANG_CROSS_ENCODER = {"model_path": "m", "is_generation": False, "architectures": ["BertForSequenceClassification"]}
METHOD_NOT_ALLOWED = (405, {"detail": "Method Not Allowed"}, {})


def models(owner: str) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": "m", "owned_by": owner}]}


def test_an_sglang_embedding_server_is_not_believed_when_it_reranks(
    server: loopback.Server, reranker: MakeReranker
) -> None:
    ours = reranker(base_url=server.base_url)
    with pytest.raises(WrongServerError, match=r"runs an embedding model \(tiny-qwen3\).*without --is-embedding"):
        ours.rerank("q", ["a", "b"])
    assert server.posted() == []


def test_naming_the_server_does_not_switch_the_check_off(server: loopback.Server, reranker: MakeReranker) -> None:
    with pytest.raises(WrongServerError, match="runs an embedding model"):
        reranker(base_url=server.base_url, dialect="sglang").rerank("q", ["a"])


async def test_the_wrong_server_is_found_out_in_an_event_loop(server: loopback.Server, reranker: MakeReranker) -> None:
    with pytest.raises(WrongServerError, match="runs an embedding model"):
        await reranker(base_url=server.base_url).arerank("q", ["a"])


def test_a_model_vllm_does_not_know_stays_a_404(server: loopback.Server, embedder: Make) -> None:
    ours = embedder()
    unknown = (404, {"error": {"message": "The model `tiny` does not exist.", "code": 404}}, {})

    def answer(request: loopback.Request) -> loopback.Answer:
        if request.method == "POST":
            return unknown
        routes = {"/v1/models": (200, models("vllm"), {}), "/v1/embeddings": METHOD_NOT_ALLOWED}
        return routes.get(request.path, unknown)

    server.reply(answer)
    with pytest.raises(EndpointNotFoundError, match="does not exist"):
        ours.embed_documents(["a"])


def test_behind_a_proxy_the_server_is_asked_under_its_own_prefix(
    reranker_server: loopback.Server, reranker: MakeReranker
) -> None:
    def proxy(request: loopback.Request) -> loopback.Answer | None:
        if request.path == "/model_info":
            return 200, SGLANG_EMBEDDING, {}  # another server, at the root
        if request.path == "/reranker/model_info":
            return 200, SGLANG_DECODER, {}
        if request.path == "/reranker/v1/rerank":
            return 200, [{"index": 0, "score": 0.5}], {}
        return None

    reranker_server.reply(proxy)
    ours = reranker(base_url=f"{reranker_server.root_url}/reranker/v1")
    assert ours.rerank("q", ["a"]) == [(0, 0.5)]


@pytest.mark.parametrize("busy", [(503, b"", {}), (429, b"", {}), (502, b"<html>", {})])
def test_a_server_too_busy_to_say_what_it_is_gets_asked_again(
    server: loopback.Server, embedder: Make, monkeypatch: pytest.MonkeyPatch, busy: loopback.Answer
) -> None:
    monkeypatch.setattr(recognition, "_ASK_AGAIN", 0)
    ours = embedder()
    inner = server._override
    answers = iter([busy])

    def answer(request: loopback.Request) -> loopback.Answer | None:
        if request.path == "/model_info":
            return next(answers, (200, SGLANG_CROSS_ENCODER, {}))
        return inner and inner(request)

    server.reply(answer)
    ours.embed_documents(["a"])
    with pytest.raises(WrongServerError):
        ours.embed_documents(["a"])


def test_nothing_is_reranked_before_the_server_has_said_how(server: loopback.Server, reranker: MakeReranker) -> None:
    server.reply(lambda request: (503, b"", {}) if request.path == "/model_info" else None)
    with pytest.raises(ServerBusyError, match="model_info answered 503"):
        reranker(base_url=server.base_url).rerank("q", ["a"])
    assert server.posted() == []


def test_a_named_reranker_too_busy_to_speak_of_itself_is_asked_all_the_same(
    reranker_server: loopback.Server, reranker: MakeReranker
) -> None:
    reranker_server.reply(lambda request: (503, b"", {}) if request.method == "GET" else None)
    assert reranker(dialect="sglang").rerank("cats", ["cats"]) == [(0, 1.0)]


def test_a_server_that_cannot_say_what_it_is_is_not_asked_before_every_request(
    server: loopback.Server, embedder: Make
) -> None:
    ours = embedder(batch_size=1, max_concurrency=1)
    inner = server._override
    server.reply(lambda request: (503, b"", {}) if request.method == "GET" else inner and inner(request))
    ours.embed_documents([f"text {at}" for at in range(10)])
    assert len(server.requests) - len(server.posted()) == 1


def test_many_first_calls_at_once_ask_once(server: loopback.Server, embedder: Make) -> None:
    ours = embedder(max_concurrency=16)
    together = threading.Barrier(16)

    def call() -> None:
        together.wait()
        ours.embed_documents(["a"])

    server.latency = 0.05
    threads = [threading.Thread(target=call) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asked = [request.path for request in server.requests if request.method == "GET"]
    assert len(asked) == len(set(asked))
    assert len(server.posted()) == 16


@pytest.mark.parametrize("looped", [False, True])
def test_a_first_rerank_of_many_batches_asks_once(
    reranker_server: loopback.Server, reranker: MakeReranker, *, looped: bool
) -> None:
    reranker_server.latency = 0.02
    ours = reranker(batch_size=4, max_concurrency=16)
    documents = [f"text {at}" for at in range(64)]
    ranked = asyncio.run(ours.arerank("text", documents)) if looped else ours.rerank("text", documents)
    assert len(ranked) == 64
    asked = [request.path for request in reranker_server.requests if request.method == "GET"]
    assert asked
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize(
    "said", [(400, b"", {}), (403, b"", {}), (501, b"", {}), (302, b"", {"Location": "http://elsewhere.invalid/"})]
)
def test_a_gateway_that_lets_no_question_through_stops_no_embedding(
    server: loopback.Server, embedder: Make, said: loopback.Answer
) -> None:
    ours = embedder()
    inner = server._override

    def answer(request: loopback.Request) -> loopback.Answer | None:
        if request.method == "GET":
            return (200, models("vllm"), {}) if request.path == "/v1/models" else said
        return inner and inner(request)

    server.reply(answer)
    assert ours.embed_documents(["a"]).shape == (1, tiny.SIZE)


def test_a_server_too_slow_to_say_what_it_is_is_waited_for(
    server: loopback.Server, reranker: MakeReranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = reranker(base_url=server.base_url, timeout=10)
    monkeypatch.setattr(ours._engine.server.connection, "_optional_timeout", 0.05)  # type: ignore[attr-defined]

    def slowly(request: loopback.Request) -> None:
        time.sleep(0.2 * (request.path == "/model_info"))

    server.reply(slowly)
    with pytest.raises(WrongServerError, match="runs an embedding model"):
        ours.rerank("q", ["a"])
    assert server.posted() == []


def test_a_server_that_is_down_is_reported_as_that(reranker_server: loopback.Server, reranker: MakeReranker) -> None:
    ours = reranker()
    reranker_server.close()
    with pytest.raises(ServerConnectionError):
        ours.rerank("q", ["a"])


def test_questions_are_not_tried_again(server: loopback.Server, embedder: Make) -> None:
    ours = embedder(max_retries=3)
    inner = server._override
    server.reply(lambda request: (500, b"", {}) if request.method == "GET" else inner and inner(request))
    assert ours.embed_documents(["a"]).shape == (1, tiny.SIZE)
    assert [request.path for request in server.requests] == ["/v1/embeddings", "/v1/models"]


def test_the_url_in_the_error_is_the_base_url(server: loopback.Server, reranker: MakeReranker) -> None:
    with pytest.raises(WrongServerError) as caught:
        reranker(base_url=server.root_url).rerank("q", ["a"])
    assert caught.value.url == server.base_url


class Held:
    """A server that keeps every question about itself until it is released."""

    def __init__(self, server: loopback.Server, model_info: dict[str, Any]) -> None:
        self.released = threading.Event()
        self.model_info = model_info
        self._answer_texts = server._override
        server.reply(self._answer)

    def _answer(self, request: loopback.Request) -> loopback.Answer | None:
        if request.method == "POST":
            return self._answer_texts and self._answer_texts(request)
        self.released.wait(60)
        return (200, self.model_info, {}) if request.path == "/model_info" else None


@pytest.fixture
def held(
    server: loopback.Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Embedder | Reranker, dict[str, Any]], Held]]:
    """Hold the questions back, with nothing but the bound on how long vectors wait to end the waiting."""
    monkeypatch.setattr(recognition, "_HOLD_BACK", 0.1)
    monkeypatch.setattr(recognition, "_DEADLINE", 60.0)
    made: list[Held] = []

    def hold(ours: Embedder | Reranker, model_info: dict[str, Any]) -> Held:
        monkeypatch.setattr(ours._engine.server.connection, "_optional_timeout", 60.0)  # type: ignore[attr-defined]
        made.append(Held(server, model_info))
        return made[-1]

    yield hold
    for each in made:
        each.released.set()


def no_longer_asked(ours: Embedder) -> bool:
    return loopback.soon(lambda: ours._engine.server.recognition.attempt is None)  # type: ignore[attr-defined]


def test_vectors_do_not_wait_for_a_server_that_is_slow_to_say_what_it_is(
    server: loopback.Server, embedder: Make, held: Callable[..., Held]
) -> None:
    ours = embedder()
    server_says = held(ours, SGLANG_EMBEDDING)
    for text in ("a", "b"):
        np.testing.assert_allclose(ours.embed_documents([text]), tiny.vectors([text]), atol=1e-6)
    assert not server_says.released.is_set()
    assert len(server.requests) - len(server.posted()) == 1
    server_says.released.set()
    assert no_longer_asked(ours)
    assert ours._engine.server.recognition.info.kind == "sglang"  # type: ignore[attr-defined]


async def test_vectors_do_not_wait_in_an_event_loop_either(
    server: loopback.Server, embedder: Make, held: Callable[..., Held]
) -> None:
    ours = embedder()
    server_says = held(ours, SGLANG_EMBEDDING)
    for text in ("a", "b"):
        np.testing.assert_allclose(await ours.aembed_documents([text]), tiny.vectors([text]), atol=1e-6)
    assert not server_says.released.is_set()
    assert len(server.requests) - len(server.posted()) == 1
    server_says.released.set()
    assert await asyncio.to_thread(no_longer_asked, ours)
    assert ours._engine.server.recognition.info.kind == "sglang"  # type: ignore[attr-defined]


def test_an_event_loop_that_ends_while_the_server_is_asked_leaves_nothing_running(
    embedder: Make, held: Callable[..., Held]
) -> None:
    ours = embedder()
    server_says = held(ours, SGLANG_EMBEDDING)
    assert asyncio.run(ours.aembed_documents(["a"])).shape == (1, tiny.SIZE)
    assert no_longer_asked(ours)
    server_says.released.set()
    assert asyncio.run(ours.aembed_documents(["b"])).shape == (1, tiny.SIZE)


async def test_a_call_that_is_cancelled_leaves_no_question_running(
    server: loopback.Server, embedder: Make, held: Callable[..., Held], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = embedder()
    held(ours, SGLANG_EMBEDDING)
    monkeypatch.setattr(recognition, "_HOLD_BACK", 60.0)
    before = asyncio.all_tasks()
    call = asyncio.ensure_future(ours.aembed_documents(["a"]))
    assert await asyncio.to_thread(loopback.soon, lambda: len(server.requests) > len(server.posted()))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert asyncio.all_tasks() == before


def test_a_server_that_is_found_wrong_later_is_refused_at_the_next_call(
    server: loopback.Server, embedder: Make, held: Callable[..., Held]
) -> None:
    ours = embedder()
    server_says = held(ours, SGLANG_CROSS_ENCODER)
    ours.embed_documents(["a"])
    server_says.released.set()
    assert no_longer_asked(ours)
    for _ in range(2):
        with pytest.raises(WrongServerError, match="runs a reranker"):
            ours.embed_documents(["b"])
    assert server.texts() == ["a"]
    server_says.model_info = SGLANG_EMBEDDING
    assert ours.embed_documents(["c"]).shape == (1, tiny.SIZE)


async def test_a_server_that_is_found_wrong_later_is_refused_in_an_event_loop(
    server: loopback.Server, embedder: Make, held: Callable[..., Held]
) -> None:
    ours = embedder()
    server_says = held(ours, SGLANG_CROSS_ENCODER)
    await ours.aembed_documents(["a"])
    server_says.released.set()
    assert await asyncio.to_thread(no_longer_asked, ours)
    with pytest.raises(WrongServerError, match="runs a reranker"):
        await ours.aembed_documents(["b"])
    assert server.texts() == ["a"]


def test_a_server_that_is_found_wrong_during_a_call_ends_it(embedder: Make, held: Callable[..., Held]) -> None:
    def answer(texts: list[str]) -> None:
        if texts == ["text 10"]:
            server_says.released.set()
        elif texts == ["text 20"]:
            assert no_longer_asked(ours)

    ours = embedder(answer, batch_size=1, max_concurrency=2)
    server_says = held(ours, SGLANG_CROSS_ENCODER)
    with pytest.raises(WrongServerError) as caught:
        ours.embed_documents([f"text {at}" for at in range(100)])
    assert caught.value.completed is not None
    assert not np.isnan(caught.value.completed[0]).any()
    assert np.isnan(caught.value.completed[99]).all()


def test_an_answer_that_can_be_done_without_does_not_hide_that_the_server_is_wrong(
    server: loopback.Server, embedder: Make
) -> None:
    ours = embedder()
    answer_texts, given_up = server._override, threading.Event()

    def answer(request: loopback.Request) -> loopback.Answer | None:
        if request.path == "/server_info":
            given_up.wait(60)
        if request.method == "GET":
            return (200, SGLANG_CROSS_ENCODER, {}) if request.path == "/model_info" else None
        return answer_texts and answer_texts(request)

    server.reply(answer)
    with pytest.raises(WrongServerError, match="runs a reranker"):
        ours.embed_documents(["a"])
    given_up.set()


@pytest.mark.parametrize("looped", [False, True])
def test_a_reranker_that_does_not_say_what_it_is_is_given_up_and_sent_nothing(
    server: loopback.Server, reranker: MakeReranker, *, looped: bool
) -> None:
    ours = reranker(base_url=server.base_url, timeout=0.2)
    server_says = Held(server, SGLANG_DECODER)
    with pytest.raises(ServerConnectionError, match="did not answer in time"):
        asyncio.run(ours.arerank("q", ["a"])) if looped else ours.rerank("q", ["a"])
    assert server.posted() == []
    server_says.released.set()


def test_a_named_reranker_that_does_not_say_what_it_runs_is_not_asked_before_every_call(
    reranker_server: loopback.Server, reranker: MakeReranker
) -> None:
    reranker_server.reply(lambda request: (503, b"", {}) if request.method == "GET" else None)
    ours = reranker(dialect="sglang")
    for _ in range(3):
        ours.rerank("cats", ["cats"])
    assert len(reranker_server.requests) - len(reranker_server.posted()) == 1


# --- questions and answers, played by hand on a clock that stands still until it is set ----------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    stands_at = SimpleNamespace(now=1000.0)
    stands_at.monotonic = lambda: stands_at.now
    monkeypatch.setattr(recognition, "time", stands_at)
    monkeypatch.setattr(questions, "time", stands_at)
    return stands_at


def unknown(task: Any, **options: Any) -> Recognition:
    options = {"base_url": "http://somewhere:1/v1"} | options
    return Recognition("http://somewhere:1/v1", task=task, model="m", options=ServedOptions(**options))


def play(flow: Flow[None] | None, clock: SimpleNamespace, seconds: float) -> list[Request]:
    """Answer 404 to every question after so many seconds, or time out where it has less; return the questions."""
    assert flow is not None
    asked: list[Request] = []
    try:
        asked.append(next(flow))  # type: ignore[arg-type]
        while True:
            allowed = asked[-1].timeout
            assert allowed is not None
            clock.now += min(seconds, allowed)
            error = ServerConnectionError if allowed < seconds else EndpointNotFoundError
            asked.append(flow.throw(error("no")))  # type: ignore[arg-type]
    except StopIteration:
        return asked


def test_all_questions_together_have_one_deadline(clock: SimpleNamespace) -> None:
    asked = play(unknown("embed").ask_in_background(), clock, 3)
    assert [request.timeout for request in asked] == [5, 2]
    assert clock.now == 1005


def test_what_was_answered_is_not_asked_again(clock: SimpleNamespace) -> None:
    ours = unknown("embed")
    first = play(ours.ask_in_background(), clock, 3)
    assert ours.ask_in_background() is None  # not at once
    clock.now += 31
    second = play(ours.ask_in_background(), clock, 3)
    assert second[0].path == first[-1].path
    assert len({request.path for request in [*first, *second]}) == 3


def test_what_a_server_that_was_still_starting_did_not_know_is_asked_again(clock: SimpleNamespace) -> None:
    ours = unknown("embed")
    flow = ours.ask_in_background()
    assert flow is not None
    first = next(flow)
    flow.throw(EndpointNotFoundError("no"))
    with pytest.raises(StopIteration):
        flow.throw(ServerBusyError("starting"))
    clock.now += 31
    assert play(ours.ask_in_background(), clock, 0.1)[0] == replace(first, timeout=5)


@pytest.mark.usefixtures("clock")
def test_questions_that_are_cut_off_again_and_again_are_waited_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognition, "_HOLD_BACK", 0.5)
    ours = unknown("embed")
    waited = []
    for _ in range(6):
        flow = ours.ask_in_background()
        assert flow is not None
        assert ours.attempt is not None
        waited.append(ours.attempt.hold_back)
        next(flow)
        flow.close()  # as the end of an event loop does
    assert waited == [0.5, 1, 2, 4, 5, 5]


def test_each_question_of_a_patient_caller_has_all_the_time_that_is_left(clock: SimpleNamespace) -> None:
    flow = unknown("rerank", timeout=10, max_retries=3).ask(required=True)
    assert next(flow).timeout == 10  # type: ignore[union-attr]
    clock.now += 3
    assert flow.throw(EndpointNotFoundError("no")).timeout == 7  # type: ignore[union-attr]


def test_a_limit_that_is_told_late_is_learned(
    server: loopback.Server, embedder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recognition, "_HOLD_BACK", 0.0)
    ours = embedder()
    answer_texts, vectors_came = server._override, threading.Event()

    def answer(request: loopback.Request) -> loopback.Answer | None:
        if request.path == "/server_info":
            vectors_came.wait(60)
            return 200, {"version": "0.5.23", "max_queued_requests": 8}, {}
        if request.method == "GET":
            return (200, SGLANG_EMBEDDING, {}) if request.path == "/model_info" else None
        return answer_texts and answer_texts(request)

    server.reply(answer)
    ours.embed_documents(["a"])
    vectors_came.set()
    assert loopback.soon(lambda: ours.describe()["max_batch"] == 8)


def test_what_a_reranker_is_has_one_deadline_that_is_the_timeout(clock: SimpleNamespace) -> None:
    with pytest.raises(ServerConnectionError):
        play(unknown("rerank", timeout=20).ask(required=True), clock, 9)
    assert clock.now == 1020


def test_a_server_that_took_all_the_time_is_told_of(clock: SimpleNamespace) -> None:
    with pytest.raises(ServerConnectionError, match="took too long to say what it is"):
        play(unknown("rerank", timeout=20).ask(required=True), clock, 10)


def test_one_flow_asks_for_all(clock: SimpleNamespace) -> None:
    ours = unknown("embed")
    flow = ours.ask_in_background()
    assert ours.attempt is not None
    assert ours.ask_in_background() is None
    play(flow, clock, 0.1)
    assert ours.attempt is None


def test_questions_that_nobody_ran_do_not_stop_later_ones(clock: SimpleNamespace) -> None:
    ours = unknown("embed")
    dropped = ours.ask_in_background()
    clock.now += 31
    assert ours.ask_in_background() is not None
    del dropped
