from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import loopback
import recorded
from qwen_embed_integrations.served.dialects import by_host

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_embed_integrations import Embedder, Reranker
    from recorded import Replay

    AtHost = Callable[[str], str]
    Check = Callable[..., None]
    Make = Callable[..., Embedder]


@pytest.mark.parametrize(
    "host",
    ["dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com", "ws-1.ap-southeast-1.maas.aliyuncs.com"],
)
def test_it_is_known_by_its_host(host: str) -> None:
    info = by_host(f"https://{host}/compatible-mode/v1")
    assert info is not None
    assert info.kind == "dashscope"


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("dashscope.aliyuncs.com", "/compatible-mode/v1"),
        ("dashscope-intl.aliyuncs.com", ""),
        ("dashscope.aliyuncs.com", "/compatible-mode"),
        ("dashscope.aliyuncs.com", "/api/v1"),
        ("ws-1.eu-central-1.maas.aliyuncs.com", "/compatible-mode/v1"),
    ],
)
def test_it_gets_its_embedding_request_and_no_question(
    embeds_as_recorded: Check, server: loopback.Server, at_host: AtHost, host: str, path: str
) -> None:
    embeds_as_recorded("dashscope", base_url=at_host(host) + path)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("dashscope.aliyuncs.com", "/compatible-mode/v1"),
        ("dashscope.aliyuncs.com", "/compatible-api/v1"),
        ("dashscope.aliyuncs.com", "/compatible-api"),
        ("dashscope.aliyuncs.com", "/api/v1/services/rerank/text-rerank/text-rerank"),
        ("ws-1.eu-central-1.maas.aliyuncs.com", ""),
    ],
)
def test_it_gets_its_rerank_request_and_no_question(
    reranks_as_recorded: Check, server: loopback.Server, at_host: AtHost, host: str, path: str
) -> None:
    reranks_as_recorded("dashscope", base_url=at_host(host) + path)
    assert len(server.requests) == 1


def test_behind_another_name_it_can_be_named(embeds_as_recorded: Check, server: loopback.Server) -> None:
    embeds_as_recorded("dashscope", dialect="dashscope")
    assert len(server.requests) == 1


def test_behind_a_gateways_prefix_it_keeps_the_prefix(replay: Replay, server: loopback.Server, embedder: Make) -> None:
    recording = replay("dashscope", "floats")["floats"]
    answer = (recording["status"], recording["response"], {})
    server.reply(lambda request: answer if request.path == "/api/dash" + recording["path"] else None)
    base_url = f"{server.root_url}/api/dash/compatible-mode/v1"
    vectors = embedder(dialect="dashscope", base_url=base_url).embed_documents(recorded.TEXTS)
    np.testing.assert_allclose(vectors, recorded.VECTORS)


def test_a_request_holds_no_more_texts_than_it_takes(server: loopback.Server, embedder: Make) -> None:
    server.reply(loopback.to_embeddings(lambda texts: (200, loopback.embeddings_reply(texts, size=4), {})))
    embedder(dialect="dashscope", batch_size=5000).embed_documents([f"text {number}" for number in range(11)])
    assert sorted(len(request.body["input"]) for request in server.posted()) == [1, 10]


def test_a_request_holds_no_more_documents_than_it_takes(
    server: loopback.Server, reranker: Callable[..., Reranker]
) -> None:
    def answer(request: loopback.Request) -> loopback.Answer:
        rows = [{"index": index, "relevance_score": 0.5} for index in range(len(request.body["documents"]))]
        return 200, {"results": rows}, {}

    server.reply(answer)
    reranker(dialect="dashscope", batch_size=5000).rerank("q", [f"text {number}" for number in range(501)])
    assert sorted(len(request.body["documents"]) for request in server.posted()) == [1, 500]


def test_its_refusal_of_a_large_request_makes_it_smaller(
    replay: Replay, server: loopback.Server, embedder: Make
) -> None:
    refusal = replay("dashscope")["too_many"]
    refused = (refusal["status"], refusal["response"], {})
    server.reply(
        loopback.to_embeddings(
            lambda texts: refused if len(texts) > 4 else (200, loopback.embeddings_reply(texts, size=4), {})
        )
    )
    texts = [f"text {number}" for number in range(64)]
    vectors = embedder(dialect="dashscope", max_concurrency=1).embed_documents(texts)
    np.testing.assert_allclose(vectors, [loopback.vector(text, 4) for text in texts], atol=1e-6)
