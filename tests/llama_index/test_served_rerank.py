from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING

import pytest
from llama_index.core.schema import ImageNode, NodeWithScore, TextNode

from qwen_embed_integrations import errors
from qwen_embed_integrations.llama_index import RankedNode, ServedRerank

if TYPE_CHECKING:
    from collections.abc import Callable

    import loopback

    Reranking = Callable[..., ServedRerank]


def nodes() -> list[NodeWithScore]:
    texts = ["the sea is blue", "grass is green", "a blue whale in the blue sea", "nothing here"]
    return [
        NodeWithScore(
            node=TextNode(text=text, id_=f"node-{position}", metadata={"page": position}), score=0.9 - position / 10
        )
        for position, text in enumerate(texts)
    ]


async def test_the_best_come_first(reranking: Reranking) -> None:
    rerank = reranking()
    results = rerank.postprocess_nodes(nodes(), query_str="blue whale sea")
    assert [node.node_id for node in results] == ["node-2", "node-0", "node-1", "node-3"]
    assert [node.score for node in results] == pytest.approx([1.0, 2 / 3, 0.0, 0.0])
    assert await rerank.apostprocess_nodes(nodes(), query_str="blue whale sea") == results


async def test_only_top_n_are_kept(reranking: Reranking) -> None:
    rerank = reranking(top_n=2)
    assert len(rerank.postprocess_nodes(nodes(), query_str="blue")) == 2
    assert len(await rerank.apostprocess_nodes(nodes(), query_str="blue")) == 2


def test_top_n_can_be_changed(reranking: Reranking) -> None:
    rerank = reranking(top_n=2)
    rerank.top_n = 3
    assert len(rerank.postprocess_nodes(nodes(), query_str="blue")) == 3


def test_nodes_below_the_threshold_are_left_out(reranking: Reranking) -> None:
    results = reranking(score_threshold=0.5).postprocess_nodes(nodes(), query_str="blue whale sea")
    assert [node.node_id for node in results] == ["node-2", "node-0"]


async def test_what_was_given_is_not_changed(reranking: Reranking) -> None:
    given = nodes()
    before, hashes = copy.deepcopy(given), [node.node.hash for node in given]
    rerank = reranking()
    for _ in range(2):
        rerank.postprocess_nodes(given, query_str="blue whale sea")
        await rerank.apostprocess_nodes(given, query_str="blue whale sea")
    assert given == before
    assert [node.node.hash for node in given] == hashes


def test_the_retrieval_score_is_kept_beside_the_node(reranking: Reranking) -> None:
    results = reranking().postprocess_nodes(nodes(), query_str="blue whale sea")
    assert isinstance(results[0], RankedNode)
    assert [node.retrieval_score for node in results] == pytest.approx([0.7, 0.9, 0.8, 0.6])
    assert results[0].metadata == {"page": 2}


def test_scores_are_no_part_of_the_text_that_is_sent(reranking: Reranking, reranker_server: loopback.Server) -> None:
    rerank = reranking()
    again = rerank.postprocess_nodes(nodes(), query_str="blue whale sea")
    rerank.postprocess_nodes(again, query_str="blue whale sea")
    first, second = (request.body["documents"] for request in reranker_server.posted("/rerank"))
    assert sorted(first) == sorted(second)


def test_the_text_sent_is_the_one_for_embedding(reranking: Reranking, reranker_server: loopback.Server) -> None:
    node = TextNode(text="the text", metadata={"title": "T", "secret": "S"}, excluded_embed_metadata_keys=["secret"])
    reranking().postprocess_nodes([NodeWithScore(node=node)], query_str="text")
    assert reranker_server.posted("/rerank")[0].body["documents"] == ["title: T\n\nthe text"]


def test_the_instruction_is_sent(reranking: Reranking, reranker_server: loopback.Server) -> None:
    reranking(instruction="Find the animal").postprocess_nodes(nodes(), query_str="blue")
    assert reranker_server.posted("/rerank")[0].body["instruct"] == "Find the animal"


def test_long_lists_are_sent_in_parts_side_by_side(reranking: Reranking, reranker_server: loopback.Server) -> None:
    reranker_server.latency = 0.1
    given = [NodeWithScore(node=TextNode(text=f"text {position}")) for position in range(20)]
    results = reranking(batch_size=4, max_concurrency=3).postprocess_nodes(given, query_str="text 7")
    assert results[0].text == "text 7"
    assert 1 < reranker_server.max_in_flight <= 3


async def test_async_needs_no_thread_for_each_call(reranking: Reranking, reranker_server: loopback.Server) -> None:
    reranker_server.latency = 0.3
    rerank = reranking(max_concurrency=40)
    await asyncio.gather(*(rerank.apostprocess_nodes(nodes(), query_str=f"blue {n}") for n in range(40)))
    assert reranker_server.max_in_flight > 36  # asyncio.to_thread has 32 threads at most


def test_every_event_loop_can_use_the_same_object(reranking: Reranking) -> None:
    rerank = reranking()
    first = asyncio.run(rerank.apostprocess_nodes(nodes(), query_str="blue"))
    assert asyncio.run(rerank.apostprocess_nodes(nodes(), query_str="blue")) == first


async def test_no_nodes_make_no_requests(reranking: Reranking, reranker_server: loopback.Server) -> None:
    assert reranking().postprocess_nodes([], query_str="blue") == []
    assert await reranking().apostprocess_nodes([], query_str="blue") == []
    assert reranker_server.requests == []


async def test_a_missing_query_is_named(reranking: Reranking) -> None:
    with pytest.raises(errors.InvalidInputError, match="`query_bundle` is None"):
        reranking().postprocess_nodes(nodes())
    with pytest.raises(errors.InvalidInputError, match="`query_bundle` is None"):
        await reranking().apostprocess_nodes(nodes())


def test_a_node_without_text_is_refused_by_position(reranking: Reranking, reranker_server: loopback.Server) -> None:
    given = [*nodes(), NodeWithScore(node=ImageNode(image_url="http://localhost/one.png"))]
    with pytest.raises(errors.InvalidInputError) as raised:
        reranking().postprocess_nodes(given, query_str="blue")
    assert raised.value.positions == (4,)
    assert reranker_server.requests == []


@pytest.mark.parametrize("top_n", [0, -1])
def test_a_wrong_top_n_is_refused(reranking: Reranking, top_n: int) -> None:
    with pytest.raises(ValueError, match="top_n"):
        reranking(top_n=top_n)


def test_an_embedding_server_is_refused(server: loopback.Server) -> None:
    rerank = ServedRerank("Qwen/Qwen3-Reranker-0.6B", base_url=server.base_url)
    with pytest.raises(errors.WrongServerError, match="embedding model"):
        rerank.postprocess_nodes(nodes(), query_str="blue")


def test_an_embedding_model_is_refused_on_construction() -> None:
    with pytest.raises(errors.WrongServerError, match="embedding model"):
        ServedRerank("Qwen/Qwen3-Embedding-0.6B", base_url="http://localhost:1/v1")


async def test_an_http_error_is_an_error_that_shows_what_was_said(
    reranking: Reranking, reranker_server: loopback.Server
) -> None:
    reranker_server.reply(lambda _: (422, {"error": "the reason"}, {}))
    with pytest.raises(errors.RequestRefusedError, match="the reason"):
        reranking().postprocess_nodes(nodes(), query_str="blue")
    with pytest.raises(errors.RequestRefusedError, match="the reason"):
        await reranking().apostprocess_nodes(nodes(), query_str="blue")


def test_usage_is_summed(reranking: Reranking) -> None:
    rerank = reranking(batch_size=2)
    rerank.postprocess_nodes(nodes(), query_str="blue")
    assert rerank.usage.requests == 2


async def test_a_closed_object_opens_again(reranking: Reranking) -> None:
    rerank = reranking()
    first = rerank.postprocess_nodes(nodes(), query_str="blue")
    rerank.close()
    assert rerank.postprocess_nodes(nodes(), query_str="blue") == first
    await rerank.aclose()
    assert await rerank.apostprocess_nodes(nodes(), query_str="blue") == first
