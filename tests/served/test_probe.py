"""What is this server? It is asked, and the wrong kind is refused before its nonsense is believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import tiny
from qwen_embed_integrations.errors import (
    EndpointNotFoundError,
    ServerBusyError,
    ServerConnectionError,
    WrongServerError,
)
from qwen_embed_integrations.served import engine
from qwen_embed_integrations.served.connection import Connection
from qwen_embed_integrations.served.probe import ServerInfo, probe

if TYPE_CHECKING:
    from collections.abc import Callable

    import loopback
    from qwen_embed_integrations import Embedder, Reranker

    Make = Callable[..., Embedder]
    MakeReranker = Callable[..., Reranker]

SGLANG_EMBEDDING = {"model_path": "m", "is_generation": False, "architectures": ["Qwen3ForCausalLM"]}
SGLANG_DECODER = {"model_path": "m", "is_generation": True, "architectures": ["Qwen3ForCausalLM"]}
SGLANG_CROSS_ENCODER = {"model_path": "m", "is_generation": False, "architectures": ["BertForSequenceClassification"]}
VLLM_MODELS = {"object": "list", "data": [{"id": "m", "owned_by": "vllm"}]}
METHOD_NOT_ALLOWED = (405, {"detail": "Method Not Allowed"}, {})


def answering(routes: dict[str, Any]) -> Callable[[loopback.Request], loopback.Answer | None]:
    """Answer these paths so; GET requests to others are 404."""

    def answer(request: loopback.Request) -> loopback.Answer | None:
        if request.path in routes and (request.method == "GET" or request.path == "/v1/embeddings"):
            said = routes[request.path]
            return said if isinstance(said, tuple) else (200, said, {})
        return (404, {"detail": "Not Found"}, {}) if request.method == "GET" else None

    return answer


def ask(server: loopback.Server, routes: dict[str, Any]) -> ServerInfo:
    server.reply(answering(routes))
    connection = Connection(server.base_url, api_key=None, max_concurrency=1, timeout=5, max_retries=0)
    (found,) = connection.run([probe(connection.root_url)])
    connection.close()
    return found


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ({"/model_info": SGLANG_EMBEDDING}, ServerInfo("sglang", "embed", "m")),
        ({"/model_info": SGLANG_DECODER}, ServerInfo("sglang", "rerank", "m")),
        ({"/model_info": SGLANG_CROSS_ENCODER}, ServerInfo("sglang", "rerank", "m")),
        ({"/get_model_info": SGLANG_EMBEDDING}, ServerInfo("sglang", "embed", "m")),
        ({"/model_info": {"is_generation": True}}, ServerInfo("sglang", "rerank", None)),
        ({"/info": {"model_id": "m", "model_type": {"embedding": {}}}}, ServerInfo("tei", "embed", "m")),
        ({"/info": {"model_id": "m", "model_type": {"reranker": {}}}}, ServerInfo("tei", "rerank", "m")),
        ({"/info": {"model_id": "m", "model_type": {"classifier": {}}}}, ServerInfo("tei", None, "m")),
        ({"/v1/models": VLLM_MODELS, "/v1/embeddings": METHOD_NOT_ALLOWED}, ServerInfo("vllm", "embed", "m")),
        ({"/v1/models": VLLM_MODELS}, ServerInfo("vllm", "rerank", "m")),
        ({"/v1/models": {"data": [{"id": "m", "owned_by": "llamacpp"}]}}, ServerInfo("unknown", None, "m")),
        ({}, ServerInfo()),
        ({"/model_info": (200, b"<html>app</html>", {}), "/info": (200, b"", {})}, ServerInfo()),
        ({"/model_info": [], "/get_model_info": "x", "/info": {"model_type": "x"}, "/v1/models": 3}, ServerInfo()),
        ({"/info": {"name": "someone else"}, "/v1/models": {"data": []}}, ServerInfo()),
        ({"/v1/models": {"data": ["m"]}}, ServerInfo()),
        ({"/model_info": (401, {"error": "Unauthorized"}, {})}, ServerInfo()),
    ],
)
def test_a_server_is_known_by_what_it_says(
    server: loopback.Server, routes: dict[str, Any], expected: ServerInfo
) -> None:
    assert ask(server, routes) == expected


def test_an_sglang_embedding_server_is_not_believed_when_it_reranks(
    server: loopback.Server, reranker: MakeReranker
) -> None:
    ours = reranker(base_url=server.base_url)
    with pytest.raises(WrongServerError, match=r"runs an embedding model \(tiny-qwen3\).*without --is-embedding"):
        ours.rerank("q", ["a", "b"])
    assert server.posted() == []


@pytest.mark.parametrize("dialect", ["sglang", "vllm", "cohere", "tei"])
def test_naming_the_dialect_does_not_switch_the_check_off(
    server: loopback.Server, reranker: MakeReranker, dialect: str
) -> None:
    with pytest.raises(WrongServerError, match="runs an embedding model"):
        reranker(base_url=server.base_url, dialect=dialect).rerank("q", ["a"])


async def test_the_wrong_server_is_found_out_in_an_event_loop(server: loopback.Server, reranker: MakeReranker) -> None:
    with pytest.raises(WrongServerError, match="runs an embedding model"):
        await reranker(base_url=server.base_url).arerank("q", ["a"])


def test_a_vllm_that_only_embeds_is_not_believed_when_it_reranks(
    server: loopback.Server, reranker: MakeReranker
) -> None:
    server.reply(answering({"/v1/models": VLLM_MODELS, "/v1/embeddings": METHOD_NOT_ALLOWED}))
    with pytest.raises(WrongServerError, match="plain cosine similarities"):
        reranker(base_url=server.base_url).rerank("q", ["a"])


def test_a_vllm_that_only_reranks_is_named_when_it_should_embed(server: loopback.Server, embedder: Make) -> None:
    ours = embedder()
    server.reply(answering({"/v1/models": VLLM_MODELS, "/v1/embeddings": (404, {"detail": "Not Found"}, {})}))
    with pytest.raises(WrongServerError, match=r"runs a reranker \(m\); point `base_url` at an embedding server"):
        ours.embed_documents(["a"])


def test_a_model_vllm_does_not_know_stays_a_404(server: loopback.Server, embedder: Make) -> None:
    ours = embedder()
    unknown = (404, {"error": {"message": "The model `tiny` does not exist.", "code": 404}}, {})

    def answer(request: loopback.Request) -> loopback.Answer:
        if request.method == "POST":
            return unknown
        return answering({"/v1/models": VLLM_MODELS, "/v1/embeddings": METHOD_NOT_ALLOWED})(request) or unknown

    server.reply(answer)
    with pytest.raises(EndpointNotFoundError, match="does not exist"):
        ours.embed_documents(["a"])


def test_a_tei_embedding_server_is_refused_for_reranking(server: loopback.Server, reranker: MakeReranker) -> None:
    server.reply(answering({"/info": {"model_id": "m", "model_type": {"embedding": {"pooling": "cls"}}}}))
    with pytest.raises(WrongServerError, match=r"runs an embedding model \(m\)"):
        reranker(base_url=server.base_url).rerank("q", ["a"])


def test_a_tei_reranker_is_refused_for_embedding(embedder: Make) -> None:
    said = (424, {"message": "`embed` is not available for this model", "code": 424, "type": "Backend"}, {})
    with pytest.raises(WrongServerError, match="another kind"):
        embedder(lambda _: said).embed_documents(["a"])


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
    server: loopback.Server, reranker: MakeReranker, monkeypatch: pytest.MonkeyPatch, busy: loopback.Answer
) -> None:
    monkeypatch.setattr(engine, "_ASK_AGAIN", 0)
    answers = iter([busy])
    server.reply(lambda request: next(answers, None) if request.path == "/model_info" else None)
    ours = reranker(base_url=server.base_url, dialect="sglang")
    ours.rerank("q", ["a"])
    with pytest.raises(WrongServerError):
        ours.rerank("q", ["a"])


def test_nothing_is_reranked_before_the_server_has_said_how(server: loopback.Server, reranker: MakeReranker) -> None:
    server.reply(lambda request: (503, b"", {}) if request.path == "/model_info" else None)
    with pytest.raises(ServerBusyError, match="model_info answered 503"):
        reranker(base_url=server.base_url).rerank("q", ["a"])
    assert server.posted() == []


def test_a_server_that_cannot_say_what_it_is_is_not_asked_before_every_request(
    server: loopback.Server, embedder: Make
) -> None:
    ours = embedder(batch_size=1, max_concurrency=1)
    inner = server._override
    server.reply(lambda request: (503, b"", {}) if request.method == "GET" else inner and inner(request))
    ours.embed_documents([f"text {at}" for at in range(10)])
    assert len(server.requests) - len(server.posted()) == 1


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
    assert [request.path for request in server.requests] == ["/v1/embeddings", "/model_info"]


def test_the_url_in_the_error_is_the_base_url(server: loopback.Server, reranker: MakeReranker) -> None:
    with pytest.raises(WrongServerError) as caught:
        reranker(base_url=server.root_url).rerank("q", ["a"])
    assert caught.value.url == server.base_url
