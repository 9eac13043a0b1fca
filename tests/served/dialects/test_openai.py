from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import loopback
import recorded
from qwen_embed_integrations.errors import InvalidInputError, ServerAuthenticationError
from qwen_embed_integrations.served.dialects import by_host

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_embed_integrations import Embedder, Reranker
    from recorded import Replay

    AtHost = Callable[[str], str]
    Make = Callable[..., Embedder]


@pytest.mark.parametrize(
    ("base_url", "kind"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://API.OpenAI.com/v1", "openai"),
        ("https://api.openai.com.example.org/v1", None),
    ],
)
def test_it_is_known_by_its_host(base_url: str, kind: str | None) -> None:
    info = by_host(base_url)
    assert (info and info.kind) == kind


def test_it_gets_its_embedding_request_and_no_question(
    embeds_as_recorded: Callable[..., None], server: loopback.Server, at_host: AtHost
) -> None:
    embeds_as_recorded("openai", base_url=f"{at_host('api.openai.com')}/v1")
    assert len(server.requests) == 1


def test_behind_another_name_it_can_be_named(embeds_as_recorded: Callable[..., None], server: loopback.Server) -> None:
    embeds_as_recorded("openai", dialect="openai")
    assert len(server.requests) == 1


def test_a_request_holds_no_more_texts_than_it_takes(server: loopback.Server, embedder: Make) -> None:
    server.reply(loopback.to_embeddings(lambda texts: (200, loopback.embeddings_reply(texts, size=4), {})))
    embedder(dialect="openai", batch_size=5000).embed_documents([f"text {number}" for number in range(2049)])
    assert sorted(len(request.body["input"]) for request in server.posted()) == [1, 2048]


@pytest.mark.parametrize("refusal", ["too_many", "too_much"])
def test_its_refusal_of_a_large_request_makes_it_smaller(
    replay: Replay, server: loopback.Server, embedder: Make, refusal: str
) -> None:
    recording = replay("openai")[refusal]
    refused = (recording["status"], recording["response"], {})
    server.reply(
        loopback.to_embeddings(
            lambda texts: refused if len(texts) > 32 else (200, loopback.embeddings_reply(texts, size=4), {})
        )
    )
    texts = [f"text {number}" for number in range(64)]
    vectors = embedder(dialect="openai", max_concurrency=1).embed_documents(texts)
    np.testing.assert_allclose(vectors, [loopback.vector(text, 4) for text in texts], atol=1e-6)


def test_a_request_without_a_key_is_told_so(replay: Replay, at_host: AtHost, embedder: Make) -> None:
    replay("openai", "unauthorized")
    with pytest.raises(ServerAuthenticationError, match="No `api_key` was given"):
        embedder(base_url=at_host("api.openai.com")).embed_documents(recorded.TEXTS)


@pytest.mark.parametrize("base_url", ["https://api.openai.com/v1", "https://api.openai.com"])
def test_it_is_refused_for_reranking_at_once(reranker: Callable[..., Reranker], base_url: str) -> None:
    with pytest.raises(InvalidInputError, match="`base_url` names OpenAI, which does not rerank") as caught:
        reranker(base_url=base_url)
    assert caught.value.parameter == "base_url"
