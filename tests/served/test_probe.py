"""What is this server? It is asked, and the wrong kind is refused before its nonsense is believed."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import tiny
from qwen_embed_integrations import Embedder, Reranker, ServerInfo
from qwen_embed_integrations.errors import (
    EndpointNotFoundError,
    ServerBusyError,
    ServerConnectionError,
    WrongServerError,
)
from qwen_embed_integrations.options import ServedOptions
from qwen_embed_integrations.served import recognition
from qwen_embed_integrations.served.address import root_of
from qwen_embed_integrations.served.connection import Connection
from qwen_embed_integrations.served.probe import probe

if TYPE_CHECKING:
    from collections.abc import Callable

    import loopback

    Make = Callable[..., Embedder]
    MakeReranker = Callable[..., Reranker]

SGLANG_EMBEDDING = {"model_path": "m", "is_generation": False, "architectures": ["Qwen3ForCausalLM"]}
SGLANG_DECODER = {"model_path": "m", "is_generation": True, "architectures": ["Qwen3ForCausalLM"]}
SGLANG_CROSS_ENCODER = {"model_path": "m", "is_generation": False, "architectures": ["BertForSequenceClassification"]}
VLLM_EMBEDDING = ServerInfo(kind="vllm", task="embed", model="m")
METHOD_NOT_ALLOWED = (405, {"detail": "Method Not Allowed"}, {})


def models(owner: str, **more: Any) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": "m", "owned_by": owner, **more}]}


def answering(routes: dict[str, Any]) -> Callable[[loopback.Request], loopback.Answer | None]:
    """Answer these paths so; GET requests to others are 404."""

    def answer(request: loopback.Request) -> loopback.Answer | None:
        if request.path in routes and (request.method == "GET" or request.path == "/v1/embeddings"):
            said = routes[request.path]
            return said if isinstance(said, tuple) else (200, said, {})
        return (404, {"detail": "Not Found"}, {}) if request.method == "GET" else None

    return answer


def ask(server: loopback.Server, routes: dict[str, Any], model: str | None = None) -> ServerInfo:
    server.reply(answering(routes))
    connection = Connection(ServedOptions(base_url=server.base_url, max_concurrency=1, timeout=5, max_retries=0))
    (found,) = connection.run([probe(root_of(connection.base_url), model=model)])
    connection.close()
    return found


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ({"/model_info": SGLANG_EMBEDDING}, ServerInfo(kind="sglang", task="embed", model="m")),
        ({"/model_info": SGLANG_DECODER}, ServerInfo(kind="sglang", task="rerank", model="m")),
        ({"/model_info": SGLANG_CROSS_ENCODER}, ServerInfo(kind="sglang", task="rerank", model="m")),
        ({"/model_info": {"is_generation": True}}, ServerInfo(kind="sglang", task="rerank")),
        (
            {"/get_model_info": {"is_generation": False}, "/v1/models": models("sglang")},
            ServerInfo(kind="sglang", model="m"),
        ),
        ({"/v1/models": models("vllm"), "/v1/embeddings": METHOD_NOT_ALLOWED}, VLLM_EMBEDDING),
        ({"/v1/models": models("vllm"), "/v1/rerank": METHOD_NOT_ALLOWED}, replace(VLLM_EMBEDDING, task="rerank")),
        ({"/v1/models": models("vllm")}, replace(VLLM_EMBEDDING, task=None)),  # a text generator
        ({"/v1/models": models("sglang", max_model_len=9)}, ServerInfo(kind="sglang", model="m", max_tokens=9)),
        (
            {"/v1/models": models("sglang"), "/get_model_info": SGLANG_EMBEDDING},
            ServerInfo(kind="sglang", task="embed", model="m"),
        ),
        ({"/info": {"model_type": {"classifier": {}}, "model_id": "m"}}, ServerInfo(kind="tei", model="m")),
        ({"/v1/models": models("somebody")}, ServerInfo(model="m")),
        ({}, ServerInfo()),
        ({"/model_info": (200, b"<html>app</html>", {}), "/info": (200, b"", {})}, ServerInfo()),
        ({"/model_info": [], "/get_model_info": "x", "/info": {"model_type": "x"}, "/v1/models": 3}, ServerInfo()),
        ({"/info": {"name": "someone else"}, "/v1/models": {"data": []}}, ServerInfo()),
        ({"/v1/models": {"data": ["m"]}}, ServerInfo()),
        ({"/v1/models": {"data": [{"id": 3, "owned_by": 4}]}}, ServerInfo()),
        ({"/model_info": (401, {"error": "Unauthorized"}, {})}, ServerInfo()),
    ],
)
def test_a_server_is_known_by_what_it_says(
    server: loopback.Server, routes: dict[str, Any], expected: ServerInfo
) -> None:
    assert ask(server, routes) == expected


@pytest.mark.parametrize(
    ("routes", "most"),
    [({"/v1/models": models("openai")}, 2), ({}, 4), ({"/v1/models": models("vllm")}, 4)],
)
def test_few_questions_are_asked_and_none_twice(server: loopback.Server, routes: dict[str, Any], most: int) -> None:
    ask(server, routes)
    asked = [request.path for request in server.requests]
    assert len(asked) == len(set(asked)) <= most


def test_of_several_models_the_one_that_is_meant_is_described(server: loopback.Server) -> None:
    said = {"data": [{"id": "a", "owned_by": "vllm", "max_model_len": 1}, {"id": "b", "max_model_len": 2}]}
    said["data"][1]["owned_by"] = "vllm"
    assert ask(server, {"/v1/models": said}, "b").max_tokens == 2
    assert ask(server, {"/v1/models": said}, "c").max_tokens == 1


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
        routes = {"/v1/models": models("vllm"), "/v1/embeddings": METHOD_NOT_ALLOWED}
        return answering(routes)(request) or unknown

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
