"""Replies recorded from real servers (SGLang 0.5.23, vLLM 0.32.0), replayed word for word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import loopback
from qwen_embed_integrations import Embedder, ModelProfile, Reranker
from qwen_embed_integrations.errors import (
    EndpointNotFoundError,
    RequestRefusedError,
    TextTooLongError,
    WrongServerError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Recorded = dict[str, dict[str, Any]]
    Replay = Callable[..., Recorded]

PROFILE = ModelProfile(name="tiny-qwen3", dimensions=16)
TEXTS = ["Hello world!", "yes"]
QUERY, DOCUMENTS = "search engine", ["the quick brown fox", "yes no query", "retrieval search engine"]


@pytest.fixture
def embedder(server: loopback.Server) -> Iterator[Embedder]:
    with Embedder.served("tiny-qwen3", base_url=server.base_url, profile=PROFILE, max_retries=0) as ours:
        yield ours


@pytest.fixture
def reranker(server: loopback.Server) -> Iterator[Reranker]:
    with Reranker.served("Qwen/Qwen3-Reranker-0.6B", base_url=server.base_url, max_retries=0) as ours:
        yield ours


@pytest.mark.parametrize("server_name", ["sglang_embedding", "vllm_embedding"])
@pytest.mark.parametrize("form", ["floats", "base64"])
def test_recorded_vectors_are_read_in_either_form(
    replay: Replay, embedder: Embedder, server_name: str, form: str
) -> None:
    floats = replay(server_name, form)["floats"]["response"]["data"]
    found = embedder.embed_documents(TEXTS)
    # The two forms were recorded in two runs, which differ in the sixth digit.
    np.testing.assert_allclose(found, [row["embedding"] for row in floats], atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("server_name", ["sglang_embedding", "vllm_embedding"])
def test_recorded_usage_is_counted(replay: Replay, embedder: Embedder, server_name: str) -> None:
    replay(server_name, "base64")
    embedder.embed_documents(TEXTS)
    assert (embedder.usage.tokens, embedder.usage.requests) == (6, 1)


@pytest.mark.parametrize(
    ("server_name", "form", "field"),
    [
        ("sglang_reranker", "rerank", "score"),
        ("sglang_reranker", "rerank_without_documents", "score"),
        ("vllm_reranker", "rerank", "relevance_score"),
    ],
)
def test_recorded_scores_are_read_to_the_last_digit(
    replay: Replay, reranker: Reranker, server_name: str, form: str, field: str
) -> None:
    said = replay(server_name, form)[form]["response"]
    rows = said if isinstance(said, list) else said["results"]
    assert reranker.rerank(QUERY, DOCUMENTS) == [(row["index"], row[field]) for row in rows]


@pytest.mark.parametrize("server_name", ["sglang_embedding", "vllm_embedding"])
def test_a_recorded_embedding_server_is_not_believed_when_it_reranks(
    replay: Replay, reranker: Reranker, server_name: str
) -> None:
    assert replay(server_name, "rerank")["rerank"]["status"] == 200  # it would have answered
    with pytest.raises(WrongServerError, match=r"runs an embedding model \(tiny-qwen3\)"):
        reranker.rerank("yes", ["a", "b"])


@pytest.mark.parametrize("server_name", ["sglang_reranker", "vllm_reranker"])
def test_a_recorded_reranker_asked_to_embed_is_named(replay: Replay, embedder: Embedder, server_name: str) -> None:
    replay(server_name, "embeddings")
    with pytest.raises(WrongServerError, match="reranker"):
        embedder.embed_documents(TEXTS)


def test_sglangs_false_lead_for_a_reranker_without_its_template_is_set_right(
    replay: Replay, server: loopback.Server, reranker: Reranker
) -> None:
    refusal = replay("sglang_reranker")["embeddings"]
    questions = server._override
    server.reply(
        lambda request: (
            (refusal["status"], refusal["response"], {})
            if request.path == "/v1/rerank"
            else questions and questions(request)
        )
    )
    with pytest.raises(WrongServerError, match="serves it with its chat template, and without --is-embedding"):
        reranker.rerank(QUERY, DOCUMENTS)


@pytest.mark.parametrize("server_name", ["sglang_embedding", "vllm_embedding"])
def test_a_recorded_refusal_of_a_long_text_is_understood(
    replay: Replay, server: loopback.Server, server_name: str
) -> None:
    refusal = replay(server_name)["too_long"]
    server.reply(
        loopback.to_embeddings(
            lambda texts: (
                (refusal["status"], refusal["response"], {})
                if max(map(len, texts)) > 100
                else (200, loopback.embeddings_reply(texts, size=16), {})
            )
        )
    )
    with (
        Embedder.served("tiny-qwen3", base_url=server.base_url, profile=PROFILE, long_text="error") as embedder,
        pytest.raises(TextTooLongError, match="512 tokens") as caught,
    ):
        embedder.embed_documents(["short", "long " * 100])
    assert caught.value.positions == (1,)


@pytest.mark.parametrize(
    ("server_name", "refusal"), [("sglang_embedding", "blank"), ("sglang_embedding", "dimensions")]
)
def test_a_recorded_refusal_of_everything_is_raised_with_the_servers_words(
    replay: Replay, embedder: Embedder, server_name: str, refusal: str
) -> None:
    said = replay(server_name, refusal)[refusal]["response"]["message"]
    with pytest.raises(RequestRefusedError) as caught:
        embedder.embed_documents(TEXTS)
    assert said in str(caught.value)


def test_a_recorded_404_for_a_model_vllm_does_not_know_is_raised_as_that(replay: Replay, embedder: Embedder) -> None:
    replay("vllm_embedding", "model_wrong")
    with pytest.raises(EndpointNotFoundError, match="The model `not-the-model` does not exist"):
        embedder.embed_documents(TEXTS)
