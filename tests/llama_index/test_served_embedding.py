from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import loopback
from qwen_embed_integrations import ModelProfile, errors
from qwen_embed_integrations.llama_index import ServedEmbedding

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Turnstile

    Served = Callable[..., ServedEmbedding]


INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"


def test_a_query_gets_the_models_own_instruction(served: Served, server: loopback.Server) -> None:
    served().get_query_embedding("What is BM25?")
    assert server.texts() == [f"Instruct: {INSTRUCTION}\nQuery:What is BM25?"]


def test_a_query_gets_the_instruction_of_the_object(served: Served, server: loopback.Server) -> None:
    served(query_instruction="Find the function").get_query_embedding("sort a list")
    assert server.texts() == ["Instruct: Find the function\nQuery:sort a list"]


def test_a_document_gets_no_instruction(served: Served, server: loopback.Server) -> None:
    served(query_instruction="Find the function").get_text_embedding("def sort(): ...")
    assert server.texts() == ["def sort(): ..."]


def test_newlines_and_outer_blanks_reach_the_server(served: Served, server: loopback.Server) -> None:
    served().get_text_embedding_batch(["  one\ntwo\n", "\tthree"])
    assert server.texts() == ["  one\ntwo\n", "\tthree"]


def test_a_vector_is_the_servers_in_plain_numbers(served: Served) -> None:
    vector = served().get_text_embedding("one")
    assert all(type(value) is float for value in vector)
    np.testing.assert_allclose(vector, loopback.vector("one"), atol=1e-6)


def test_dimensions_cut_and_keep_length_one(served: Served) -> None:
    whole = loopback.vector("one")[:64]
    np.testing.assert_allclose(
        served(dimensions=64).get_text_embedding("one"), whole / np.linalg.norm(whole), atol=1e-6
    )


def test_documents_keep_their_order_over_many_requests(served: Served) -> None:
    texts = [f"document {number}" for number in range(50)]
    vectors = served(batch_size=4).get_text_embedding_batch(texts)
    np.testing.assert_allclose(vectors, [loopback.vector(text) for text in texts], atol=1e-6)


async def test_async_gives_what_sync_gives(served: Served) -> None:
    embedding = served(batch_size=2, embed_batch_size=3)
    texts = [f"document {number}" for number in range(10)]
    assert await embedding.aget_query_embedding("q") == embedding.get_query_embedding("q")
    assert await embedding.aget_text_embedding("d") == embedding.get_text_embedding("d")
    assert await embedding.aget_text_embedding_batch(texts) == embedding.get_text_embedding_batch(texts)


async def test_no_texts_make_no_requests(served: Served, server: loopback.Server) -> None:
    embedding = served()
    assert embedding.get_text_embedding_batch([]) == []
    assert await embedding.aget_text_embedding_batch([]) == []
    assert server.requests == []


def test_sync_batches_run_side_by_side(served: Served, server: loopback.Server) -> None:
    server.latency = 0.05
    served(batch_size=4, max_concurrency=5).get_text_embedding_batch([f"document {n}" for n in range(100)])
    assert 1 < server.max_in_flight <= 5


@pytest.mark.parametrize("num_workers", [None, 1, 4])
async def test_async_requests_stay_within_max_concurrency(
    served: Served, server: loopback.Server, num_workers: int | None
) -> None:
    server.latency = 0.02
    embedding = served(batch_size=2, embed_batch_size=2, max_concurrency=3, num_workers=num_workers)
    await embedding.aget_text_embedding_batch([f"document {n}" for n in range(40)])
    await asyncio.gather(*(embedding.aget_query_embedding(f"query {n}") for n in range(20)))
    assert server.max_in_flight <= 3


async def test_num_workers_is_the_number_of_lots_at_once(served: Served, server: loopback.Server) -> None:
    server.latency = 0.03
    embedding = served(embed_batch_size=2, num_workers=2)
    await embedding.aget_text_embedding_batch([f"document {n}" for n in range(16)])
    assert server.max_in_flight == 2


async def test_async_calls_leave_the_event_loop_free(served: Served, server: loopback.Server) -> None:
    server.latency = 0.4
    running = asyncio.ensure_future(served().aget_text_embedding("one"))
    ticks = 0
    while not running.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert ticks > 10


def test_every_event_loop_can_use_the_same_object(served: Served) -> None:
    embedding = served()
    vectors = [asyncio.run(embedding.aget_query_embedding("again")) for _ in range(3)]
    assert vectors[0] == vectors[1] == vectors[2]


def test_retries_are_those_of_one_layer(served: Served, server: loopback.Server) -> None:
    server.reply(lambda _: (503, {"message": "busy"}, {"retry-after-ms": "1"}))
    with pytest.raises(errors.ServerBusyError, match="busy"):
        served(max_retries=2).get_text_embedding("one")
    assert len(server.posted("/embeddings")) == 3


def test_a_failure_that_passes_is_retried(served: Served, server: loopback.Server) -> None:
    replies = itertools.chain([(503, {"message": "busy"}, {"retry-after-ms": "1"})], itertools.repeat(None))
    server.reply(lambda _: next(replies))
    np.testing.assert_allclose(served().get_text_embedding("one"), loopback.vector("one"), atol=1e-6)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, errors.ServerAuthenticationError),
        (404, errors.EndpointNotFoundError),
        (422, errors.RequestRefusedError),
    ],
)
async def test_an_http_error_is_an_error_that_shows_what_was_said(
    served: Served, server: loopback.Server, status: int, error: type[errors.ServerError]
) -> None:
    server.reply(lambda _: (status, {"error": "the reason", "error_type": "Validation"}, {}))
    with pytest.raises(error, match="the reason") as sync:
        served().get_text_embedding("one")
    with pytest.raises(error, match="the reason"):
        await served().aget_text_embedding_batch(["one"])
    assert sync.value.status == status


def test_permuted_rows_are_put_in_order(served: Served, server: loopback.Server) -> None:
    def reversed_rows(request: loopback.Request) -> Any:
        if not request.path.endswith("/embeddings"):
            return None
        reply = loopback.embeddings_reply(request.body["input"])
        reply["data"].reverse()
        return 200, reply, {}

    server.reply(reversed_rows)
    vectors = served().get_text_embedding_batch(["one", "two", "three"])
    np.testing.assert_allclose(vectors, [loopback.vector(text) for text in ("one", "two", "three")], atol=1e-6)


def test_a_short_reply_is_an_error(served: Served, server: loopback.Server) -> None:
    server.reply(
        lambda request: (
            (200, loopback.embeddings_reply(request.body["input"][:1]), {}) if request.method == "POST" else None
        )
    )
    with pytest.raises(errors.BadReplyError, match="1 embeddings for 2 texts"):
        served().get_text_embedding_batch(["one", "two"])


async def test_blank_text_is_refused_before_anything_is_sent(served: Served, server: loopback.Server) -> None:
    with pytest.raises(errors.InvalidInputError, match="position 1") as raised:
        served().get_text_embedding_batch(["one", "  "])
    with pytest.raises(errors.InvalidInputError):
        await served().aget_query_embedding("")
    assert raised.value.positions == (1,)
    assert server.requests == []


async def test_a_failed_async_call_leaves_nothing_running(served: Served, server: loopback.Server) -> None:
    server.latency = 0.05
    server.reply(lambda request: (422, {"error": "no"}, {}) if "document 0" in str(request.body) else None)
    embedding = served(embed_batch_size=1, max_concurrency=2, max_retries=0)
    with pytest.raises(errors.RequestRefusedError):
        await embedding.aget_text_embedding_batch([f"document {n}" for n in range(60)])
    await asyncio.sleep(0.2)  # what was on its way arrives
    sent = len(server.requests)
    assert sent < 30
    await asyncio.sleep(0.3)
    assert len(server.requests) == sent


def test_wrong_dimensions_are_refused_on_construction() -> None:
    with pytest.raises(errors.InvalidInputError, match="between 32 and 1024"):
        ServedEmbedding("Qwen/Qwen3-Embedding-0.6B", base_url="http://localhost:1/v1", dimensions=4096)


def test_an_instruction_for_a_model_without_one_is_refused_on_construction() -> None:
    with pytest.raises(errors.InvalidInputError, match="`instruction`"):
        ServedEmbedding("text-embedding-3-small", base_url="http://localhost:1/v1", query_instruction="Find")


def test_a_reranker_is_refused_on_construction() -> None:
    with pytest.raises(errors.WrongServerError, match="reranker"):
        ServedEmbedding("Qwen/Qwen3-Reranker-0.6B", base_url="http://localhost:1/v1")


def test_a_missing_model_is_named() -> None:
    with pytest.raises(errors.InvalidInputError, match="`model`"):
        ServedEmbedding(base_url="http://localhost:1/v1")


def test_a_missing_address_is_named_with_its_variable() -> None:
    with pytest.raises(errors.InvalidInputError, match=r"`base_url`.*QWEN_EMBED_BASE_URL"):
        ServedEmbedding("Qwen/Qwen3-Embedding-0.6B")


def test_address_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, server: loopback.Server) -> None:
    monkeypatch.setenv("QWEN_EMBED_BASE_URL", server.base_url)
    monkeypatch.setenv("QWEN_EMBED_API_KEY", "sk-from-environment")
    ServedEmbedding("Qwen/Qwen3-Embedding-0.6B").get_text_embedding("one")
    headers = {name.lower(): value for name, value in server.posted("/embeddings")[0].headers.items()}
    assert headers["authorization"] == "Bearer sk-from-environment"


def test_an_unknown_argument_is_refused(served: Served) -> None:
    with pytest.raises(errors.InvalidInputError, match=r"`dimension` is no option of .* Did you mean `dimensions`"):
        served(dimension=64)


def test_a_profile_tells_what_an_unknown_model_wants(served: Served, server: loopback.Server) -> None:
    profile = ModelProfile(name="mine", dimensions=1024, query_prefix="ask: ")
    served(model="mine", profile=profile).get_query_embedding("one")
    assert server.texts() == ["ask: one"]


def test_a_setting_in_use_cannot_be_changed(served: Served) -> None:
    embedding = served()
    with pytest.raises(errors.InvalidInputError, match="model_copy"):
        embedding.query_instruction = "Find"


def test_a_copy_with_another_instruction_uses_it(served: Served, server: loopback.Server) -> None:
    embedding = served()
    embedding.get_query_embedding("one")
    embedding.model_copy(update={"query_instruction": "Find"}).get_query_embedding("one")
    assert server.texts()[1] == "Instruct: Find\nQuery:one"


def test_what_llama_index_itself_uses_can_be_changed(served: Served, server: loopback.Server) -> None:
    embedding = served()
    embedding.embed_batch_size = 1
    embedding.get_text_embedding_batch(["one", "two"])
    assert [request.body["input"] for request in server.posted("/embeddings")] == [["one"], ["two"]]


def test_usage_is_summed(served: Served) -> None:
    embedding = served(batch_size=1)
    embedding.get_text_embedding_batch(["one", "two"])
    assert (embedding.usage.tokens, embedding.usage.requests) == (6, 2)


async def test_a_closed_object_opens_again(served: Served) -> None:
    embedding = served()
    first = embedding.get_text_embedding("one")
    embedding.close()
    assert embedding.get_text_embedding("one") == first
    await embedding.aclose()
    assert await embedding.aget_text_embedding("one") == first


async def test_the_rate_limiter_is_asked_once_a_lot(served: Served, turnstile: Turnstile) -> None:
    pytest.importorskip("llama_index.core.rate_limiter", reason="older than LlamaIndex's rate limiters")
    embedding = served(rate_limiter=turnstile, embed_batch_size=2)
    embedding.get_query_embedding("one")
    embedding.get_text_embedding_batch(["one", "two", "three"])
    assert turnstile.passed == 3
    await embedding.aget_query_embedding("one")
    await embedding.aget_text_embedding_batch(["one", "two", "three"])
    assert turnstile.passed == 6


async def test_progress_is_shown_on_request(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    served().get_text_embedding_batch(["one", "two"], show_progress=True)
    assert "Generating embeddings" in capsys.readouterr().err
    await served().aget_text_embedding_batch(["one", "two"], show_progress=True)
    assert "Generating embeddings" in capsys.readouterr().err
