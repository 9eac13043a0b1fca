"""An embedding model as the second stage of a LlamaIndex query."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING

import pytest
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.schema import NodeWithScore, TextNode
from pydantic import ValidationError

from qwen_embed_integrations import ModelProfile, errors
from qwen_embed_integrations.llama_index import EmbeddingRerank, LocalEmbedding, ServedEmbedding

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Events

    import loopback

    Served = Callable[..., ServedEmbedding]

QUERY = "blue whale"
TEXTS = ["the sea is blue", "grass is green", "a whale in the sea", "nothing here at all"]
KEY = "sk-very-secret"


def nodes() -> list[NodeWithScore]:
    return [
        NodeWithScore(node=TextNode(text=text, id_=str(position)), score=0.5) for position, text in enumerate(TEXTS)
    ]


async def test_nodes_come_in_the_order_of_their_cosines(served: Served) -> None:
    embedding = served()
    wanted = embedding.embedder.embed_documents(TEXTS) @ embedding.embedder.embed_queries([QUERY])[0]
    rerank = EmbeddingRerank(embedding)
    for results in (
        rerank.postprocess_nodes(nodes(), query_str=QUERY),
        await rerank.apostprocess_nodes(nodes(), query_str=QUERY),
    ):
        assert [int(node.node_id) for node in results] == (-wanted).argsort().tolist()
        assert [node.score for node in results] == pytest.approx(sorted(wanted.tolist(), reverse=True), abs=1e-6)
        assert {node.retrieval_score for node in results} == {0.5}


def test_a_model_in_this_process_is_a_second_stage_too(local: LocalEmbedding) -> None:
    results = EmbeddingRerank(local, top_n=1).postprocess_nodes(nodes(), query_str=QUERY)
    assert [node.text for node in results] == ["a whale in the sea"]


def test_settings_of_any_reranker_hold(served: Served, server: loopback.Server) -> None:
    embedding = served()
    assert len(EmbeddingRerank(embedding, top_n=2).postprocess_nodes(nodes(), query_str=QUERY)) == 2
    assert EmbeddingRerank(embedding, score_threshold=0.99).postprocess_nodes(nodes(), query_str=QUERY) == []
    EmbeddingRerank(embedding, instruction="Find animals").postprocess_nodes(nodes(), query_str=QUERY)
    assert f"Instruct: Find animals\nQuery:{QUERY}" in server.texts()


def test_an_instruction_is_refused_at_once_where_the_model_takes_none(served: Served) -> None:
    plain = served(profile=ModelProfile(name="plain", dimensions=1024))
    with pytest.raises(errors.InvalidInputError, match="takes none"):
        EmbeddingRerank(plain, instruction="Find animals")


@pytest.mark.parametrize("wrong", ["Qwen/Qwen3-Embedding-0.6B", {"class_name": "OpenAIEmbedding"}, None])
def test_what_is_no_embedding_model_of_ours_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError, match="embed_model"):
        EmbeddingRerank(wrong)  # type: ignore[arg-type]


def test_observers_are_told_the_model(served: Served, events: Events) -> None:
    EmbeddingRerank(served()).postprocess_nodes(nodes(), query_str=QUERY)
    assert events.names(ReRankStartEvent, ReRankEndEvent) == ["ReRankStartEvent", "ReRankEndEvent"]
    (start,) = events.of(ReRankStartEvent)
    assert start.model_name == "Qwen/Qwen3-Embedding-0.6B"  # type: ignore[attr-defined]


def test_it_works_after_its_embedding_model_was_closed(served: Served) -> None:
    embedding = served()
    rerank = EmbeddingRerank(embedding)
    before = rerank.postprocess_nodes(nodes(), query_str=QUERY)
    embedding.close()
    assert rerank.postprocess_nodes(nodes(), query_str=QUERY) == before


def test_it_comes_back_from_its_dict_its_json_its_pickle_and_its_copy(served: Served) -> None:
    rerank = EmbeddingRerank(served(dimensions=64, api_key=KEY), top_n=3, instruction="Find animals")
    expected = rerank.postprocess_nodes(nodes(), query_str=QUERY)
    dumped = rerank.to_dict()
    for again in (
        EmbeddingRerank.from_dict(dumped),
        EmbeddingRerank.from_json(rerank.to_json()),
        pickle.loads(pickle.dumps(rerank)),  # noqa: S301 its own
        copy.deepcopy(rerank),
    ):
        assert again.postprocess_nodes(nodes(), query_str=QUERY) == expected
        assert (again.top_n, again.instruction, again.embed_model.dimensions) == (3, "Find animals", 64)
        again.embed_model.close()
    assert rerank.to_dict() == dumped


def test_the_key_is_in_no_dump(served: Served) -> None:
    rerank = EmbeddingRerank(served(api_key=KEY, default_headers={"X-Token": "header-secret"}))
    shown = f"{rerank!r} {rerank} {dict(rerank.to_dict())} {rerank.to_json()} {rerank.model_dump_json()}"
    assert KEY not in shown
    assert "header-secret" not in shown
