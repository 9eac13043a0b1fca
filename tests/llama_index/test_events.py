from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from qwen_embed_integrations import errors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import Callbacks, Events

    import loopback
    from qwen_embed_integrations.llama_index import ServedEmbedding, ServedRerank

    Served = Callable[..., ServedEmbedding]
    Reranking = Callable[..., ServedRerank]
    Call = Callable[[ServedEmbedding], Awaitable[object]]


TEXTS = ["one", "two", "three"]


async def query(embedding: ServedEmbedding) -> object:
    return embedding.get_query_embedding("one")


async def aquery(embedding: ServedEmbedding) -> object:
    return await embedding.aget_query_embedding("one")


async def text(embedding: ServedEmbedding) -> object:
    return embedding.get_text_embedding("one")


async def atext(embedding: ServedEmbedding) -> object:
    return await embedding.aget_text_embedding("one")


async def batch(embedding: ServedEmbedding) -> object:
    return embedding.get_text_embedding_batch(TEXTS)


async def abatch(embedding: ServedEmbedding) -> object:
    return await embedding.aget_text_embedding_batch(TEXTS)


every_call = pytest.mark.parametrize("call", [query, aquery, text, atext, batch, abatch])


@every_call
async def test_every_start_of_embedding_has_its_end(
    served: Served, events: Events, callbacks: Callbacks, call: Call
) -> None:
    await call(served(callback_manager=callbacks.manager, embed_batch_size=2))
    names = events.names(EmbeddingStartEvent, EmbeddingEndEvent)
    assert (
        names.count("EmbeddingStartEvent") == names.count("EmbeddingEndEvent") == (2 if "batch" in call.__name__ else 1)
    )
    assert sorted(callbacks.started) == sorted(callbacks.ended)
    assert callbacks.started[0][0] is CBEventType.EMBEDDING


@every_call
async def test_every_start_of_embedding_has_its_end_when_it_fails(
    served: Served, server: loopback.Server, events: Events, callbacks: Callbacks, call: Call
) -> None:
    server.reply(lambda _: (422, {"error": "no"}, {}))
    with pytest.raises(errors.RequestRefusedError):
        await call(served(callback_manager=callbacks.manager, embed_batch_size=2))
    names = events.names(EmbeddingStartEvent, EmbeddingEndEvent)
    assert names.count("EmbeddingStartEvent") == names.count("EmbeddingEndEvent") >= 1
    assert sorted(callbacks.started) == sorted(callbacks.ended) != []


async def test_the_ends_say_what_was_embedded(served: Served, events: Events, callbacks: Callbacks) -> None:
    embedding = served(callback_manager=callbacks.manager)
    vectors = await embedding.aget_text_embedding_batch(TEXTS)
    (end,) = events.of(EmbeddingEndEvent)
    assert (end.chunks, end.embeddings) == (TEXTS, vectors)
    assert callbacks.payloads[-1] == {EventPayload.CHUNKS: TEXTS, EventPayload.EMBEDDINGS: vectors}


async def test_observers_are_told_the_settings_and_no_secret(served: Served, events: Events) -> None:
    embedding = served(dimensions=64, query_instruction="Find", api_key="sk-secret")
    embedding.get_query_embedding("one")
    await embedding.aget_text_embedding_batch(TEXTS)
    for start in events.of(EmbeddingStartEvent):
        assert start.model_dict["model_name"] == "Qwen/Qwen3-Embedding-0.6B"
        assert (start.model_dict["dimensions"], start.model_dict["query_instruction"]) == (64, "Find")
        assert "sk-secret" not in str(start)


def nodes(*texts: str) -> list[NodeWithScore]:
    return [NodeWithScore(node=TextNode(text=event), score=0.5) for event in texts]


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_every_start_of_reranking_has_its_end(
    reranking: Reranking, events: Events, callbacks: Callbacks, mode: str
) -> None:
    rerank = reranking(top_n=1, callback_manager=callbacks.manager)
    given = nodes("red", "blue")
    if mode == "sync":
        kept = rerank.postprocess_nodes(given, query_str="blue")
    else:
        kept = await rerank.apostprocess_nodes(given, query_str="blue")
    start, end = events.of(ReRankStartEvent, ReRankEndEvent)
    assert (start.top_n, start.model_name, start.nodes) == (1, "Qwen/Qwen3-Reranker-0.6B", given)
    assert isinstance(start.query, QueryBundle)
    assert end.nodes == kept
    assert callbacks.started == callbacks.ended
    assert callbacks.started[0][0] is CBEventType.RERANKING
    assert callbacks.payloads[0][EventPayload.QUERY_STR] == "blue"
    assert callbacks.payloads[1][EventPayload.NODES] == kept


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_every_start_of_reranking_has_its_end_when_it_fails(
    reranking: Reranking, reranker_server: loopback.Server, events: Events, callbacks: Callbacks, mode: str
) -> None:
    reranker_server.reply(lambda _: (422, {"error": "no"}, {}))
    rerank = reranking(callback_manager=callbacks.manager)
    if mode == "sync":
        with pytest.raises(errors.RequestRefusedError):
            rerank.postprocess_nodes(nodes("red"), query_str="blue")
    else:
        with pytest.raises(errors.RequestRefusedError):
            await rerank.apostprocess_nodes(nodes("red"), query_str="blue")
    start, end = events.of(ReRankStartEvent, ReRankEndEvent)
    assert start.class_name() == "ReRankStartEvent"
    assert end.nodes == []
    assert callbacks.started == callbacks.ended


def test_bad_input_starts_no_reranking(reranking: Reranking, events: Events) -> None:
    with pytest.raises(errors.InvalidInputError):
        reranking().postprocess_nodes(nodes("red"))
    assert reranking().postprocess_nodes([], query_str="blue") == []
    assert events.of(ReRankStartEvent, ReRankEndEvent) == []
