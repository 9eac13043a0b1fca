"""A server as engines use it: what is known of it, and at which of its paths a batch is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import tiny
from qwen_embed_integrations import ServerInfo
from qwen_embed_integrations.errors import EndpointNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    import loopback
    from qwen_embed_integrations import Embedder, Reranker

    Make = Callable[..., Embedder]
    MakeReranker = Callable[..., Reranker]


def described(ours: Embedder | Reranker) -> dict[str, Any]:
    return ours._engine.describe()  # type: ignore[attr-defined]


def at_paths(*paths: str) -> Callable[[loopback.Request], loopback.Answer | None]:
    """Answer embedding requests at these paths, and 404 to all else."""

    def answer(request: loopback.Request) -> loopback.Answer:
        if request.method == "POST" and request.path in paths:
            return tiny.answer(request.body["input"])
        return 404, {"detail": f"no {request.path}"}, {}

    return answer


def test_nothing_is_known_of_a_server_before_its_first_use(server: loopback.Server, embedder: Make) -> None:
    assert described(embedder()) == {
        "server": "unknown",
        "version": None,
        "model": "tiny",
        "address": server.base_url,
        "max_batch": None,
        "max_tokens": None,
        "pooling": None,
    }
    assert server.requests == []


def test_a_server_describes_itself_with_its_first_use(server: loopback.Server, embedder: Make) -> None:
    ours = embedder()
    answer_texts = server._override
    says = {
        "/v1/models": {"data": [{"id": "m", "owned_by": "sglang", "max_model_len": 512}]},
        "/model_info": {
            "model_path": "Qwen/Tiny",
            "is_generation": False,
            "architectures": ["Qwen3ForCausalLM"],
            "embedding": {"pooling": "last"},
        },
        "/server_info": {"version": "0.5.23", "max_queued_requests": 100},
    }

    def answer(request: loopback.Request) -> loopback.Answer | None:
        return (200, says[request.path], {}) if request.path in says else answer_texts and answer_texts(request)

    server.reply(answer)
    ours.embed_documents(["a"])
    assert described(ours) == {
        "server": "sglang",
        "version": "0.5.23",
        "model": "Qwen/Tiny",
        "address": server.base_url,
        "max_batch": 100,
        "max_tokens": 512,
        "pooling": "last",
    }


def test_a_limit_that_was_run_into_is_described(embedder: Make) -> None:
    refusal = (422, {"error": "batch size 64 > maximum allowed batch size 24"}, {})
    ours = embedder(lambda batch: refusal if len(batch) > 24 else None)
    ours.embed_documents([f"text {number}" for number in range(64)])
    assert described(ours)["max_batch"] == 24


def test_a_reranker_describes_its_server(reranker_server: loopback.Server, reranker: MakeReranker) -> None:
    ours = reranker()
    ours.rerank("q", ["a"])
    assert described(ours) == {
        "server": "sglang",
        "version": None,
        "model": "tiny-reranker",
        "address": reranker_server.base_url,
        "max_batch": None,
        "max_tokens": None,
        "pooling": None,
    }


def test_the_next_path_is_tried_where_one_is_missing_and_then_kept_to(server: loopback.Server, embedder: Make) -> None:
    ours = embedder(dialect=ServerInfo(kind="infinity"), max_concurrency=1, batch_size=1)
    server.reply(at_paths("/embeddings"))
    assert ours.embed_documents(["a", "b"]).shape == (2, tiny.SIZE)
    assert [request.path for request in server.posted()] == ["/v1/embeddings", "/embeddings", "/embeddings"]


def test_a_path_that_was_missing_is_found_again_after_a_restart(server: loopback.Server, embedder: Make) -> None:
    ours = embedder(dialect=ServerInfo(kind="infinity"))
    for path in ("/embeddings", "/v1/embeddings", "/embeddings"):
        server.reply(at_paths(path))
        assert ours.embed_documents(["a"]).shape == (1, tiny.SIZE)


@pytest.mark.parametrize("there", ["/embeddings", "/v1/embeddings"])
def test_where_no_path_is_there_any_more_the_error_is_that_of_the_one_that_was(
    server: loopback.Server, embedder: Make, there: str
) -> None:
    ours = embedder(dialect=ServerInfo(kind="infinity"))
    server.reply(at_paths("/embeddings"))
    ours.embed_documents(["a"])
    server.reply(at_paths(there))
    ours.embed_documents(["a"])
    server.reply(at_paths())
    with pytest.raises(EndpointNotFoundError, match=f"no {there}"):
        ours.embed_documents(["a"])


def test_other_paths_are_learned_of_by_asking_what_the_server_is(server: loopback.Server, embedder: Make) -> None:
    ours = embedder()
    answer_texts = at_paths("/embeddings")

    def answer(request: loopback.Request) -> loopback.Answer | None:
        if request.path == "/models":
            return 200, {"data": [{"id": "tiny", "owned_by": "infinity", "capabilities": ["embed"]}]}, {}
        return answer_texts(request)

    server.reply(answer)
    assert ours.embed_documents(["a"]).shape == (1, tiny.SIZE)
    assert described(ours)["server"] == "infinity"
