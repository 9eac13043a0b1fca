from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import loopback
import recorded
from qwen_embed_integrations import ServerInfo
from qwen_embed_integrations.errors import EndpointNotFoundError, ServerBusyError, WrongServerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_embed_integrations import Embedder, Reranker
    from recorded import Replay

    Check = Callable[..., None]
    Make = Callable[..., Embedder]
    Recognised = Callable[..., ServerInfo]


@pytest.mark.parametrize(
    ("recording", "expected"),
    [
        ("infinity_embedding", ServerInfo(kind="infinity", task="embed", model="BAAI/bge-small-en-v1.5")),
        ("infinity_reranker", ServerInfo(kind="infinity", task="rerank", model="BAAI/bge-reranker-base")),
    ],
)
def test_it_says_what_it_runs(replay: Replay, recognised: Recognised, recording: str, expected: ServerInfo) -> None:
    replay(recording)
    assert recognised() == expected


@pytest.mark.parametrize(
    ("model", "capabilities", "task"),
    [
        ("reranker", (["embed"], ["rerank"]), "rerank"),
        ("embedder", (["embed"], ["rerank"]), "embed"),
        ("another", (["embed"], ["rerank"]), None),
        ("another", (["embed"], ["embed"]), "embed"),
        ("another", (["embed", "rerank"], ["embed"]), None),
    ],
)
def test_of_several_models_the_one_that_is_meant_tells_the_task(
    server: loopback.Server,
    recognised: Recognised,
    *,
    model: str,
    capabilities: tuple[list[str], list[str]],
    task: str | None,
) -> None:
    data = [
        {"id": name, "owned_by": "infinity", "capabilities": listed}
        for name, listed in zip(("embedder", "reranker"), capabilities, strict=True)
    ]
    server.reply(lambda request: (200, {"data": data}, {}) if request.path == "/v1/models" else (404, b"", {}))
    assert recognised(model).task == task


@pytest.mark.parametrize("dialect", ["auto", "infinity"])
def test_it_gets_openais_embedding_request(embeds_as_recorded: Check, dialect: str) -> None:
    embeds_as_recorded("infinity_embedding", dialect=dialect)


@pytest.mark.parametrize("dialect", ["auto", "infinity"])
def test_it_gets_the_common_rerank_request(reranks_as_recorded: Check, dialect: str) -> None:
    reranks_as_recorded("infinity_reranker", dialect=dialect)


def test_without_a_prefix_it_is_found_at_its_root_and_asked_there_from_then_on(
    replay: Replay, server: loopback.Server, embedder: Make
) -> None:
    replay("infinity_embedding", "floats")
    ours = embedder("BAAI/bge-small-en-v1.5")
    ours.embed_documents(recorded.TEXTS)
    ours.embed_documents(recorded.TEXTS)
    assert [request.path for request in server.posted()] == ["/v1/embeddings", "/embeddings", "/embeddings"]


def test_restarted_with_another_prefix_it_is_found_again(
    replay: Replay, server: loopback.Server, embedder: Make
) -> None:
    replay("infinity_embedding")
    questions = server._override
    prefix = ""

    def answer(request: loopback.Request) -> loopback.Answer | None:
        if request.path == f"{prefix}/embeddings":
            return 200, loopback.embeddings_reply(request.body["input"], size=4), {}
        return questions and questions(request)

    server.reply(answer)
    ours = embedder()
    for now, tried in (("", ["/v1/embeddings", "/embeddings"]), ("/v1", ["/embeddings", "/v1/embeddings"])):
        prefix = now
        server.requests.clear()
        ours.embed_documents(recorded.TEXTS)
        ours.embed_documents(recorded.TEXTS)
        assert [request.path for request in server.posted()] == [*tried, tried[-1]]


def test_a_404_is_told_in_the_words_of_the_endpoint_that_is_there(
    replay: Replay, server: loopback.Server, embedder: Make
) -> None:
    replay("infinity_embedding")
    questions = server._override
    gone = False

    def answer(request: loopback.Request) -> loopback.Answer | None:
        if request.path != "/embeddings":
            return questions and questions(request)
        if gone:
            return 404, {"error": {"message": "model m is gone"}}, {}
        return 200, loopback.embeddings_reply(request.body["input"], size=4), {}

    server.reply(answer)
    ours = embedder()
    ours.embed_documents(recorded.TEXTS)
    gone = True
    with pytest.raises(EndpointNotFoundError, match="model m is gone"):
        ours.embed_documents(recorded.TEXTS)


def test_first_requests_sent_together_all_find_its_endpoint(
    replay: Replay, server: loopback.Server, embedder: Make
) -> None:
    replay("infinity_embedding")
    questions = server._override
    embeds = loopback.to_embeddings(lambda texts: (200, loopback.embeddings_reply(texts, size=4), {}))

    def answer(request: loopback.Request) -> loopback.Answer | None:
        return embeds(request) if request.path == "/embeddings" else questions and questions(request)

    server.reply(answer)
    server.latency = 0.02
    texts = [f"text {number}" for number in range(8)]
    vectors = embedder(batch_size=1, max_concurrency=8).embed_documents(texts)
    np.testing.assert_allclose(vectors, [loopback.vector(text, 4) for text in texts], atol=1e-6)


def test_its_word_for_busy_is_understood(replay: Replay, embedder: Make) -> None:
    replay("infinity_embedding", "busy")
    with pytest.raises(ServerBusyError, match="overloaded"):
        embedder().embed_documents(recorded.TEXTS)


def test_an_embedding_server_is_refused_for_reranking(
    replay: Replay, server: loopback.Server, reranker: Callable[..., Reranker]
) -> None:
    replay("infinity_embedding")
    with pytest.raises(WrongServerError, match="runs an embedding model"):
        reranker().rerank("q", ["a"])
    assert server.posted("rerank") == []


def test_an_instruction_would_be_lost(loses_instructions: Check) -> None:
    loses_instructions(ServerInfo(kind="infinity"))
