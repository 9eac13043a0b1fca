"""What is this server? It is asked, in few questions, and known by its answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from qwen_embed_integrations import ServerInfo
from qwen_embed_integrations.options import ServedOptions
from qwen_embed_integrations.served.address import root_of
from qwen_embed_integrations.served.connection import Connection
from qwen_embed_integrations.served.probe import probe

if TYPE_CHECKING:
    from collections.abc import Callable

    import loopback

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
