"""Hosted APIs: known by their host, asked nothing about themselves, each in its own form and within its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import loopback
from qwen_embed_integrations import Embedder, Reranker, ServerInfo
from qwen_embed_integrations.errors import InvalidInputError, ServerAuthenticationError, ServerBusyError
from qwen_embed_integrations.served.dialects import by_host

if TYPE_CHECKING:
    from collections.abc import Callable

    Recorded = dict[str, dict[str, Any]]
    Replay = Callable[..., Recorded]
    Make = Callable[..., Embedder]
    MakeReranker = Callable[..., Reranker]
    AtHost = Callable[[str], str]

TEXTS = ["Hello world!", "yes"]
VECTORS = [[0.5, 0.5, 0.5, 0.5], [0.5, -0.5, 0.5, -0.5]]
QUERY, DOCUMENTS = "search engine", ["the quick brown fox", "yes no query", "retrieval search engine"]
RANKED = [(2, 0.9), (0, 0.25), (1, 0.125)]


@pytest.mark.parametrize(
    ("base_url", "kind"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", "dashscope"),
        ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "dashscope"),
        ("https://api.jina.ai/v1", "jina"),
        ("https://api.mixedbread.com/v1", "mixedbread"),
        ("https://api.cohere.com/v2", "cohere"),
        ("https://API.OpenAI.com/v1", "openai"),
        ("https://api.openai.com.example.org/v1", None),
        ("http://localhost:30000/v1", None),
    ],
)
def test_an_api_is_known_by_its_host(base_url: str, kind: str | None) -> None:
    found = by_host(base_url)
    assert (found and found.kind) == kind


@pytest.mark.parametrize(
    ("name", "host", "path"),
    [
        ("openai", "api.openai.com", "/v1"),
        ("dashscope", "dashscope.aliyuncs.com", "/compatible-mode/v1"),
        ("dashscope", "dashscope-intl.aliyuncs.com", ""),
        ("jina", "api.jina.ai", "/v1"),
        ("mixedbread", "api.mixedbread.com", ""),
    ],
)
def test_each_api_gets_its_embedding_request_and_no_question(
    replay: Replay, server: loopback.Server, at_host: AtHost, embedder: Make, *, name: str, host: str, path: str
) -> None:
    said = replay(name, "floats")["floats"]
    found = embedder(said["body"]["model"], base_url=at_host(host) + path).embed_documents(TEXTS)
    np.testing.assert_allclose(found, VECTORS)
    (request,) = server.requests
    assert (request.path, request.body) == (said["path"], said["body"])


@pytest.mark.parametrize(
    ("name", "host", "path"),
    [
        ("dashscope", "dashscope.aliyuncs.com", "/compatible-mode/v1"),
        ("dashscope", "dashscope.aliyuncs.com", "/compatible-api/v1"),
        ("jina", "api.jina.ai", ""),
        ("mixedbread", "api.mixedbread.com", "/v1"),
        ("cohere", "api.cohere.com", ""),
        ("cohere", "api.cohere.com", "/v1"),
        ("cohere", "api.cohere.com", "/v2"),
    ],
)
def test_each_api_gets_its_rerank_request_and_no_question(
    replay: Replay, server: loopback.Server, at_host: AtHost, reranker: MakeReranker, *, name: str, host: str, path: str
) -> None:
    said = replay(name, "rerank")["rerank"]
    ours = reranker(said["body"]["model"], base_url=at_host(host) + path, instruction=said["body"].get("instruct"))
    assert ours.rerank(QUERY, DOCUMENTS) == RANKED
    (request,) = server.requests
    assert (request.path, request.body) == (said["path"], said["body"])


@pytest.mark.parametrize("name", ["openai", "dashscope", "jina", "mixedbread"])
def test_an_api_behind_another_name_can_be_named(
    replay: Replay, server: loopback.Server, embedder: Make, name: str
) -> None:
    said = replay(name, "floats")["floats"]
    embedder(said["body"]["model"], dialect=name).embed_documents(TEXTS)
    assert [(request.path, request.body) for request in server.requests] == [(said["path"], said["body"])]


@pytest.mark.parametrize(("name", "most"), [("dashscope", 10), ("openai", 2048)])
def test_a_request_holds_no_more_texts_than_the_api_takes(
    server: loopback.Server, embedder: Make, name: str, most: int
) -> None:
    server.reply(loopback.to_embeddings(lambda texts: (200, loopback.embeddings_reply(texts, size=4), {})))
    embedder("m", dialect=name, batch_size=5000).embed_documents([f"text {at}" for at in range(most + 1)])
    assert sorted(len(request.body["input"]) for request in server.posted()) == [1, most]


@pytest.mark.parametrize(("name", "most"), [("dashscope", 500), ("cohere", 1000)])
def test_a_request_holds_no_more_documents_than_the_api_takes(
    server: loopback.Server, reranker: MakeReranker, name: str, most: int
) -> None:
    def answer(request: loopback.Request) -> loopback.Answer:
        rows = [{"index": at, "relevance_score": 0.5} for at in range(len(request.body["documents"]))]
        return 200, {"results": rows}, {}

    server.reply(answer)
    reranker("m", dialect=name, batch_size=5000).rerank("q", [f"text {at}" for at in range(most + 1)])
    assert sorted(len(request.body["documents"]) for request in server.posted()) == [1, most]


@pytest.mark.parametrize(
    ("name", "refusal", "most"), [("openai", "too_many", 32), ("openai", "too_much", 32), ("dashscope", "too_many", 4)]
)
def test_an_apis_refusal_of_a_large_request_makes_it_smaller(
    replay: Replay, server: loopback.Server, embedder: Make, *, name: str, refusal: str, most: int
) -> None:
    said = replay(name)[refusal]
    refused = (said["status"], said["response"], {})
    server.reply(
        loopback.to_embeddings(
            lambda texts: refused if len(texts) > most else (200, loopback.embeddings_reply(texts, size=4), {})
        )
    )
    texts = [f"text {at}" for at in range(64)]
    found = embedder("m", dialect=name, max_concurrency=1).embed_documents(texts)
    np.testing.assert_allclose(found, [loopback.vector(text, 4) for text in texts], atol=1e-6)


def test_a_request_without_a_key_is_told_so(replay: Replay, at_host: AtHost, embedder: Make) -> None:
    replay("openai", "unauthorized")
    with pytest.raises(ServerAuthenticationError, match="No `api_key` was given"):
        embedder("m", base_url=at_host("api.openai.com")).embed_documents(TEXTS)


def test_jinas_words_for_a_wrong_key_are_shown(replay: Replay, reranker: MakeReranker) -> None:
    replay("jina", "unauthorized")
    with pytest.raises(ServerAuthenticationError, match=r"Invalid API key.*Check `api_key`"):
        reranker("m", dialect="jina", api_key="wrong").rerank("q", ["a"])


def test_coheres_limit_of_calls_is_busy(replay: Replay, at_host: AtHost, reranker: MakeReranker) -> None:
    replay("cohere", "busy")
    with pytest.raises(ServerBusyError, match="Trial key"):
        reranker("m", base_url=at_host("api.cohere.com")).rerank("q", ["a"])


@pytest.mark.parametrize(
    ("base_url", "title"), [("https://api.openai.com/v1", "OpenAI"), ("https://api.openai.com", "OpenAI")]
)
def test_an_api_that_does_not_rerank_is_refused_at_once(reranker: MakeReranker, base_url: str, title: str) -> None:
    with pytest.raises(InvalidInputError, match=f"`base_url` names {title}, which does not rerank") as caught:
        reranker("m", base_url=base_url)
    assert caught.value.parameter == "base_url"


def test_coheres_own_form_of_embedding_is_refused_at_once(embedder: Make) -> None:
    with pytest.raises(InvalidInputError, match=r"`base_url` names Cohere's API, which does not embed.*reranking"):
        embedder("embed-v4.0", base_url="https://api.cohere.com/v2")
    with pytest.raises(InvalidInputError, match="`dialect` names Cohere's API"):
        embedder("embed-v4.0", dialect="cohere")


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("api.cohere.com", "passes none on to its rerankers"),
        ("api.jina.ai", "the server puts one of its own"),
        ("api.mixedbread.com", "the server puts one of its own"),
    ],
)
def test_an_instruction_that_an_api_would_lose_is_refused(
    server: loopback.Server, at_host: AtHost, reranker: MakeReranker, host: str, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        reranker("m", base_url=at_host(host)).rerank("q", ["a"], instruction="Find pets")
    assert server.requests == []


def test_mixedbreads_own_instruction_is_left_to_mixedbread(replay: Replay, reranker: MakeReranker) -> None:
    replay("mixedbread", "rerank")
    ours = reranker("mixedbread-ai/mxbai-rerank-large-v2", dialect=ServerInfo(kind="mixedbread"))
    assert ours.rerank(QUERY, DOCUMENTS) == RANKED
