from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.storage.kvstore import SimpleKVStore

from qwen_embed_integrations import errors
from qwen_embed_integrations.llama_index.vector_cache import VectorCache

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import loopback
    from qwen_embed_integrations.llama_index import ServedEmbedding

    Served = Callable[..., ServedEmbedding]


def test_what_was_embedded_is_not_sent_again(served: Served, server: loopback.Server) -> None:
    embedding = served(embeddings_cache=SimpleKVStore())
    first = embedding.get_text_embedding_batch(["one", "two"])
    assert embedding.get_text_embedding_batch(["two", "three", "one"])[::2] == first[::-1]
    assert embedding.get_text_embedding("one") == first[0]
    assert server.texts() == ["one", "two", "three"]


async def test_what_was_embedded_is_not_sent_again_in_async_code(served: Served, server: loopback.Server) -> None:
    embedding = served(embeddings_cache=SimpleKVStore())
    first = await embedding.aget_text_embedding_batch(["one", "two"])
    assert await embedding.aget_text_embedding_batch(["two", "one"]) == first[::-1]
    assert await embedding.aget_text_embedding("one") == embedding.get_text_embedding("one") == first[0]
    assert server.texts() == ["one", "two"]


def test_a_query_is_not_sent_again(served: Served, server: loopback.Server) -> None:
    embedding = served(embeddings_cache=SimpleKVStore())
    assert embedding.get_query_embedding("one") == embedding.get_query_embedding("one")
    assert len(server.texts()) == 1


async def test_a_query_never_gets_a_documents_vector(served: Served) -> None:
    plain, cached = served(), served(embeddings_cache=SimpleKVStore())
    cached.get_text_embedding("one")
    assert cached.get_query_embedding("one") == plain.get_query_embedding("one")
    assert await cached.aget_query_embedding("one") == plain.get_query_embedding("one")
    assert cached.get_text_embedding("one") == plain.get_text_embedding("one")


async def test_a_document_never_gets_a_querys_vector(served: Served) -> None:
    plain, cached = served(), served(embeddings_cache=SimpleKVStore())
    await cached.aget_query_embedding("one")
    assert cached.get_text_embedding_batch(["one"]) == plain.get_text_embedding_batch(["one"])
    assert await cached.aget_text_embedding_batch(["one"]) == plain.get_text_embedding_batch(["one"])


@pytest.mark.parametrize(
    "change", [{"dimensions": 64}, {"query_instruction": "Find"}, {"model": "another/Qwen3-Embedding-0.6B"}]
)
def test_two_models_that_share_a_store_do_not_mix(
    served: Served, server: loopback.Server, change: dict[str, Any]
) -> None:
    store = SimpleKVStore()
    served(embeddings_cache=store).get_query_embedding("one")
    entries = served(**change, embeddings_cache=store).get_query_embedding("one")
    assert len(server.texts()) == 2
    assert entries == served(**change).get_query_embedding("one")


def test_equal_objects_share_a_store(served: Served, server: loopback.Server) -> None:
    store = SimpleKVStore()
    served(embeddings_cache=store).get_text_embedding("one")
    served(embeddings_cache=store, batch_size=3).get_text_embedding("one")
    assert server.texts() == ["one"]


def test_a_store_that_was_saved_is_used_again(served: Served, server: loopback.Server, tmp_path: Path) -> None:
    store = SimpleKVStore()
    served(embeddings_cache=store).get_text_embedding("one")
    store.persist(str(tmp_path / "store.json"))
    loaded = SimpleKVStore.from_persist_path(str(tmp_path / "store.json"))
    served(embeddings_cache=loaded).get_text_embedding("one")
    assert server.texts() == ["one"]


def test_a_text_that_comes_twice_is_sent_once(served: Served, server: loopback.Server) -> None:
    vectors = served(embeddings_cache=SimpleKVStore()).get_text_embedding_batch(["one", "two", "one"])
    assert vectors[0] == vectors[2] != vectors[1]
    assert server.texts() == ["one", "two"]


def test_blank_text_is_named_where_the_caller_put_it(served: Served) -> None:
    embedding = served(embeddings_cache=SimpleKVStore())
    embedding.get_text_embedding("one")
    with pytest.raises(errors.InvalidInputError) as raised:
        embedding.get_text_embedding_batch(["one", " "])
    assert raised.value.positions == (1,)


@pytest.mark.parametrize("way", ["assignment", "copy"])
def test_a_store_given_later_is_kept_by_role_too(served: Served, way: str) -> None:
    embedding = served()
    if way == "assignment":
        embedding.embeddings_cache = SimpleKVStore()
    else:
        embedding = embedding.model_copy(update={"embeddings_cache": SimpleKVStore()})
    assert embedding.get_text_embedding("one") != embedding.get_query_embedding("one")
    assert len(embedding.embeddings_cache.get_all("embeddings")) == 2


def test_a_copied_or_pickled_embedding_keeps_the_roles_apart(served: Served) -> None:
    embedding = served(embeddings_cache=SimpleKVStore()).model_copy(deep=True)
    assert isinstance(embedding.embeddings_cache, VectorCache)
    assert embedding.get_text_embedding("one") != embedding.get_query_embedding("one")


def test_something_else_than_a_store_is_refused(served: Served) -> None:
    with pytest.raises(TypeError, match="dict"):
        served(embeddings_cache={})


async def test_the_store_can_be_read_and_cleared_through_it() -> None:
    store = SimpleKVStore()
    cache = VectorCache(store)
    cache.put("a", {"n": 1})
    await cache.aput("b", {"n": 2})
    assert (cache.get("b"), await cache.aget("a")) == (store.get("b"), store.get("a")) == ({"n": 2}, {"n": 1})
    assert cache.get_all() == await cache.aget_all() == store.get_all()
    assert cache.delete("a")
    assert await cache.adelete("b")
    assert store.get_all() == {}
