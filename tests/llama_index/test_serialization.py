from __future__ import annotations

import copy
import json
import logging
import multiprocessing
import operator
import pickle
import traceback
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.core.storage.kvstore import SimpleKVStore

from qwen_embed_integrations import ModelProfile, RerankProfile, ServerInfo, errors
from qwen_embed_integrations.llama_index import ServedEmbedding, ServedRerank

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Turnstile

    import loopback

    Served = Callable[..., ServedEmbedding]
    Reranking = Callable[..., ServedRerank]

KEY = "sk-very-secret"
HEADERS = {"X-Token": "header-secret"}
NODES = [TextNode(text="one"), TextNode(text="two")]


def shown(thing: Any) -> str:
    """Return everything that a dump, a print or a log would show."""
    return " ".join(
        [
            repr(thing),
            str(thing),
            repr(dict(thing.to_dict())),
            str(thing.to_dict()),
            thing.to_json(),
            thing.json(),
            repr(thing.dict()),
            thing.model_dump_json(),
            json.dumps(thing.to_payload()) if hasattr(thing, "to_payload") else "",
        ]
    )


def test_the_key_and_the_headers_are_in_no_dump_of_an_embedding(served: Served) -> None:
    text = shown(served(api_key=KEY, default_headers=HEADERS))
    assert KEY not in text
    assert "header-secret" not in text


def test_the_key_and_the_headers_are_in_no_dump_of_a_reranker(reranking: Reranking) -> None:
    text = shown(reranking(api_key=KEY, default_headers=HEADERS))
    assert KEY not in text
    assert "header-secret" not in text


def test_a_password_in_the_address_is_refused(served: Served, server: loopback.Server) -> None:
    with pytest.raises(errors.InvalidInputError, match="default_headers") as raised:
        served(base_url=server.base_url.replace("://", "://user:word-secret@"))
    assert "word-secret" not in str(raised.value)


def test_the_key_is_in_no_error(served: Served, server: loopback.Server) -> None:
    server.reply(lambda request: (401, {"error": f"no user for {request.headers}"}, {}))
    with pytest.raises(errors.ServerAuthenticationError) as raised:
        served(api_key=KEY, default_headers=HEADERS).get_text_embedding("one")
    assert KEY not in "".join(traceback.format_exception(raised.value))
    assert "header-secret" not in str(raised.value)


def test_a_wrong_setting_is_named_without_quoting_the_others(server: loopback.Server) -> None:
    with pytest.raises(ValueError, match="timeout") as raised:
        ServedEmbedding(
            "Qwen/Qwen3-Embedding-0.6B", base_url=server.base_url, api_key=KEY, default_headers=HEADERS, timeout="soon"
        )
    assert KEY not in str(raised.value)
    assert "soon" not in str(raised.value)


def test_an_embedding_comes_back_from_its_dict(served: Served, server: loopback.Server) -> None:
    embedding = served(dimensions=64, query_instruction="Find", long_text="error", api_key=KEY)
    again = ServedEmbedding.from_dict(embedding.to_dict())
    assert again.get_query_embedding("one") == embedding.get_query_embedding("one")
    assert (again.base_url, again.long_text, again.api_key) == (server.base_url, "error", None)


def test_an_embedding_comes_back_from_json_with_its_profile(served: Served, server: loopback.Server) -> None:
    profile = ModelProfile(name="mine", dimensions=1024, query_prefix="ask: ", listed_dimensions=(256, 1024))
    again = ServedEmbedding.from_json(served(model="mine", profile=profile).to_json())
    again.get_query_embedding("one")
    assert again.profile == profile
    assert server.texts() == ["ask: one"]


def test_from_dict_takes_the_key_again(served: Served) -> None:
    again = ServedEmbedding.from_dict(served(api_key=KEY).to_dict(), api_key=KEY, batch_size=8)
    assert again.api_key is not None
    assert (again.api_key.get_secret_value(), again.batch_size) == (KEY, 8)


@pytest.mark.parametrize("dialect", ["sglang_router", ServerInfo(kind="tei", max_batch=32)])
def test_what_was_said_of_the_server_comes_back(
    served: Served, reranking: Reranking, dialect: str | ServerInfo
) -> None:
    assert ServedEmbedding.from_json(served(dialect=dialect).to_json()).dialect == dialect
    assert ServedRerank.from_json(reranking(dialect=dialect).to_json()).dialect == dialect


def test_what_was_said_of_the_server_is_no_part_of_the_ingestion_key(served: Served) -> None:
    assert str(served(dialect="tei").to_dict()) == str(served().to_dict())


def test_a_reranker_comes_back_from_its_dict(reranking: Reranking) -> None:
    profile = RerankProfile(name="mine", body="{instruction}{query}{document}")
    rerank = reranking(
        model="mine",
        profile=profile,
        top_n=3,
        score_threshold=0.25,
        instruction="Find",
        dialect="vllm",
        long_text="error",
        api_key=KEY,
    )
    again = ServedRerank.from_dict(rerank.to_dict())
    assert again.to_dict() == rerank.to_dict()
    assert (again.profile, again.top_n, again.score_threshold) == (profile, 3, 0.25)
    assert (again.instruction, again.dialect, again.long_text, again.api_key) == ("Find", "vllm", "error", None)


def test_a_pickle_keeps_everything(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    embedding = served(
        api_key=KEY,
        default_headers=HEADERS,
        dimensions=64,
        query_instruction="Find",
        batch_size=3,
        max_concurrency=2,
        timeout=5.0,
        max_retries=1,
        long_text="error",
        encoding_format="float",
        embed_batch_size=7,
        num_workers=2,
        embeddings_cache=SimpleKVStore(),
    )
    embedding.get_query_embedding("one")  # with connections open
    with caplog.at_level(logging.WARNING):
        again = pickle.loads(pickle.dumps(embedding))  # noqa: S301 its own
    kept = set(ServedEmbedding.model_fields) - {"callback_manager", "embeddings_cache"}
    assert {name: getattr(again, name) for name in kept} == {name: getattr(embedding, name) for name in kept}
    assert again.embeddings_cache.get_all("embeddings") == embedding.embeddings_cache.get_all("embeddings")
    assert again.get_query_embedding("two") == embedding.get_query_embedding("two")
    assert not caplog.records


def test_a_pickled_reranker_keeps_everything(reranking: Reranking) -> None:
    rerank = reranking(api_key=KEY, default_headers=HEADERS, top_n=1, score_threshold=0.5, instruction="Find")
    again = pickle.loads(pickle.dumps(rerank))  # noqa: S301 its own
    kept = set(ServedRerank.model_fields) - {"callback_manager"}
    assert {name: getattr(again, name) for name in kept} == {name: getattr(rerank, name) for name in kept}
    nodes = [NodeWithScore(node=node) for node in NODES]
    assert [node.text for node in again.postprocess_nodes(nodes, query_str="two")] == ["two"]


def test_what_cannot_be_pickled_is_left_behind_and_the_rest_works(served: Served, turnstile: Turnstile) -> None:
    embedding = served(rate_limiter=turnstile, dimensions=64)
    again = pickle.loads(pickle.dumps(embedding))  # noqa: S301 its own
    assert again.rate_limiter is None
    assert again.get_text_embedding("one") == embedding.get_text_embedding("one")


def test_pickling_takes_nothing_from_the_original(served: Served, turnstile: Turnstile) -> None:
    embedding = served(rate_limiter=turnstile)
    pickle.dumps(embedding)
    assert embedding.rate_limiter is turnstile


def test_a_spawned_process_can_use_a_pickled_embedding(served: Served, server: loopback.Server) -> None:
    embedding = served(api_key=KEY, query_instruction="Find", dimensions=64)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        elsewhere = pool.submit(operator.methodcaller("get_query_embedding", "one"), embedding).result()
    assert server.texts() == ["Instruct: Find\nQuery:one"]
    assert f"Bearer {KEY}" in server.posted()[0].headers.values()
    assert elsewhere == embedding.get_query_embedding("one")


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy], ids=["shallow", "deep"])
def test_a_copy_works_beside_the_original(served: Served, copied: Callable[[Any], Any]) -> None:
    embedding = served(dimensions=64)
    first = embedding.get_text_embedding("one")
    again = copied(embedding)
    assert again.get_text_embedding("one") == first
    assert embedding.get_text_embedding("one") == first


@pytest.mark.parametrize(
    "change",
    [
        {"model": "Qwen/Qwen3-Embedding-4B"},
        {"dimensions": 64},
        {"query_instruction": "Find"},
        {"profile": ModelProfile(name="mine", dimensions=1024, document_prefix="passage: ")},
    ],
    ids=operator.methodcaller("__repr__"),
)
def test_the_ingestion_cache_key_changes_with_what_shapes_vectors(served: Served, change: dict[str, Any]) -> None:
    assert get_transformation_hash(NODES, served(**change)) != get_transformation_hash(NODES, served())


@pytest.mark.parametrize(
    "change",
    [
        {"api_key": KEY},
        {"base_url": "http://elsewhere:30000/v1"},
        {"default_headers": HEADERS},
        {"batch_size": 7},
        {"max_concurrency": 2},
        {"timeout": 5.0},
        {"max_retries": 9},
        {"encoding_format": "float"},
        {"long_text": "error"},
        {"show_progress": True},
        {"embed_batch_size": 10},
        {"num_workers": 4},
        {"embeddings_cache": SimpleKVStore()},
        {"rate_limiter": object()},
        {"dimensions": 1024},
        {"query_instruction": "Given a web search query, retrieve relevant passages that answer the query"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_ingestion_cache_key_changes_with_nothing_else(served: Served, change: dict[str, Any]) -> None:
    assert get_transformation_hash(NODES, served(**change)) == get_transformation_hash(NODES, served())


def test_the_ingestion_cache_key_outlives_use_and_pickling(served: Served) -> None:
    embedding = served()
    before = get_transformation_hash(NODES, embedding)
    embedding.get_text_embedding("one")
    assert get_transformation_hash(NODES, embedding) == before
    assert get_transformation_hash(NODES, pickle.loads(pickle.dumps(embedding))) == before  # noqa: S301 its own


@pytest.mark.parametrize(
    "update", [{"instruction": "misspelt"}, {"dimensions": 99_999}, {"batch_size": 0}, {"embed_batch_size": 0}]
)
def test_a_copy_with_settings_that_cannot_be_is_refused(served: Served, update: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        served().model_copy(update=update)


def test_a_copy_with_another_key_does_not_show_it(served: Served, server: loopback.Server) -> None:
    copied = served().model_copy(update={"api_key": "sk-another"})
    copied.get_text_embedding("one")
    assert "sk-another" not in repr(copied)
    assert "Bearer sk-another" in server.posted()[0].headers.values()
