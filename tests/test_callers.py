"""Warnings point at the user's line, so that Python's default filter shows one for each."""

from __future__ import annotations

import asyncio
import inspect
import threading
import warnings
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import NodeWithScore, TextNode

import loopback
from qwen_embed_integrations import Embedder, Reranker, langchain, llama_index
from qwen_embed_integrations.callers import warn_caller
from qwen_embed_integrations.errors import LongTextWarning, UnknownModelWarning

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

EMBEDDING = "Qwen/Qwen3-Embedding-0.6B"
RERANKER = "Qwen/Qwen3-Reranker-0.6B"
LONG = "word " * 30
TOO_LONG = {"object": "error", "message": "The input (30 tokens) is longer than the model's context length (9 tokens)."}


@pytest.fixture(autouse=True)
def _short_models(server: loopback.Server, reranker_server: loopback.Server) -> None:
    def refuse(texts: list[str]) -> loopback.Answer | None:
        return (400, TOO_LONG, {}) if max(map(len, texts)) > 100 else None

    server.reply(loopback.to_embeddings(refuse))
    reranker_server.reply(loopback.to_rerank(lambda body: refuse(body["documents"])))


@contextmanager
def shown(category: type[Warning] = LongTextWarning) -> Iterator[list[int]]:
    """Collect the lines of this file that are shown under Python's default filter."""
    lines: list[int] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        yield lines
    assert {warning.filename for warning in caught if warning.category is category} <= {__file__}
    lines += [warning.lineno for warning in caught if warning.category is category]


def here() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


NODES = [NodeWithScore(node=TextNode(text=LONG))]


def sync_calls(embed_url: str, rerank_url: str) -> dict[str, Callable[[], object]]:
    embedder = Embedder.served(EMBEDDING, base_url=embed_url)
    embeddings = langchain.ServedEmbeddings(model=EMBEDDING, base_url=embed_url)
    embedding = llama_index.ServedEmbedding(EMBEDDING, base_url=embed_url)
    reranker = Reranker.served(RERANKER, base_url=rerank_url)
    compressor = langchain.ServedRerank(model=RERANKER, base_url=rerank_url)
    postprocessor = llama_index.ServedRerank(RERANKER, base_url=rerank_url)
    store = InMemoryVectorStore(embeddings)
    return {
        "Embedder.embed_documents": partial(embedder.embed_documents, [LONG]),
        "Embedder.embed_queries": partial(embedder.embed_queries, [LONG]),
        "Embedder.embed_lists": partial(embedder.embed_lists, [LONG], "document"),
        "Reranker.rerank": partial(reranker.rerank, "word", [LONG]),
        "Reranker.over": partial(Reranker.over(embedder).rerank, LONG, ["word"]),
        "langchain embed_documents": partial(embeddings.embed_documents, [LONG]),
        "langchain embed_query": partial(embeddings.embed_query, LONG),
        "langchain compress_documents": partial(compressor.compress_documents, [Document(LONG)], "word"),
        "langchain store": partial(store.add_texts, [LONG]),
        "llama_index get_text_embedding_batch": partial(embedding.get_text_embedding_batch, [LONG]),
        "llama_index get_query_embedding": partial(embedding.get_query_embedding, LONG),
        "llama_index postprocess_nodes": partial(postprocessor.postprocess_nodes, NODES, query_str="word"),
        "llama_index index": partial(VectorStoreIndex, [TextNode(text=LONG)], embed_model=embedding),
    }


def async_calls(embed_url: str, rerank_url: str) -> dict[str, Callable[[], Awaitable[object]]]:
    embedder = Embedder.served(EMBEDDING, base_url=embed_url)
    embeddings = langchain.ServedEmbeddings(model=EMBEDDING, base_url=embed_url)
    embedding = llama_index.ServedEmbedding(EMBEDDING, base_url=embed_url)
    reranker = Reranker.served(RERANKER, base_url=rerank_url)
    compressor = langchain.ServedRerank(model=RERANKER, base_url=rerank_url)
    postprocessor = llama_index.ServedRerank(RERANKER, base_url=rerank_url)
    store = InMemoryVectorStore(embeddings)
    return {
        "Embedder.aembed_documents": partial(embedder.aembed_documents, [LONG]),
        "Embedder.aembed_queries": partial(embedder.aembed_queries, [LONG]),
        "Embedder.aembed_lists": partial(embedder.aembed_lists, [LONG], "document"),
        "Reranker.arerank": partial(reranker.arerank, "word", [LONG]),
        "Reranker.over": partial(Reranker.over(embedder).arerank, LONG, ["word"]),
        "langchain aembed_documents": partial(embeddings.aembed_documents, [LONG]),
        "langchain aembed_query": partial(embeddings.aembed_query, LONG),
        "langchain acompress_documents": partial(compressor.acompress_documents, [Document(LONG)], "word"),
        "langchain store": partial(store.aadd_texts, [LONG]),
        "llama_index aget_text_embedding_batch": partial(embedding.aget_text_embedding_batch, [LONG]),
        "llama_index aget_query_embedding": partial(embedding.aget_query_embedding, LONG),
        "llama_index apostprocess_nodes": partial(postprocessor.apostprocess_nodes, NODES, query_str="word"),
    }


@pytest.mark.parametrize("name", sync_calls("http://127.0.0.1:9", "http://127.0.0.1:9"))
def test_five_lines_that_cut_a_text_are_five_warnings(
    server: loopback.Server, reranker_server: loopback.Server, name: str
) -> None:
    call = sync_calls(server.base_url, reranker_server.base_url)[name]
    with shown() as lines:
        before = here()
        call()
        call()
        call()
        call()
        call()
    assert lines == [before + call for call in range(1, 6)]


@pytest.mark.parametrize("name", async_calls("http://127.0.0.1:9", "http://127.0.0.1:9"))
async def test_five_awaits_that_cut_a_text_are_five_warnings(
    server: loopback.Server, reranker_server: loopback.Server, name: str
) -> None:
    call = async_calls(server.base_url, reranker_server.base_url)[name]
    with shown() as lines:
        before = here()
        await call()
        await call()
        await call()
        await call()
        await call()
    assert lines == [before + call for call in range(1, 6)]


def test_one_line_in_a_loop_is_one_warning(server: loopback.Server) -> None:
    with Embedder.served(EMBEDDING, base_url=server.base_url) as embedder, shown() as lines:
        for _ in range(3):
            embedder.embed_documents([LONG])
    assert len(lines) == 1


@pytest.mark.parametrize("name", ["Embedder.aembed_documents", "llama_index aget_text_embedding_batch"])
def test_every_call_that_an_event_loop_makes_warns_at_the_line_that_runs_it(server: loopback.Server, name: str) -> None:
    call = async_calls(server.base_url, server.base_url)[name]

    async def together() -> None:
        await asyncio.gather(*(call() for _ in range(3)))

    with shown() as lines:
        asyncio.run(together())
        line = here() - 1
    assert lines == [line] * 3


def test_a_thread_started_with_a_call_of_ours_warns_every_time(server: loopback.Server) -> None:
    with (
        Embedder.served(EMBEDDING, base_url=server.base_url) as embedder,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("default")
        for _ in range(3):
            thread = threading.Thread(target=embedder.embed_documents, args=([LONG],))
            thread.start()
            thread.join()
    assert [warning.filename for warning in caught if warning.category is LongTextWarning] == [threading.__file__] * 3


@pytest.mark.parametrize(
    "make",
    [
        partial(Embedder.served, "acme/embedder", base_url="http://127.0.0.1:9"),
        partial(langchain.ServedEmbeddings, model="acme/embedder", base_url="http://127.0.0.1:9"),
        partial(llama_index.ServedEmbedding, "acme/embedder", base_url="http://127.0.0.1:9"),
    ],
    ids=["core", "langchain", "llama_index"],
)
def test_an_unknown_model_is_warned_of_where_it_is_named(make: Callable[[], Any]) -> None:
    with shown(UnknownModelWarning) as lines:
        make()
        line = here() - 1
    assert lines == [line]


def test_a_filter_for_the_callers_module_applies() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", module=__name__)
        warn_caller("seen", UserWarning)
    assert [str(warning.message) for warning in caught] == ["seen"]


@pytest.mark.filterwarnings("ignore::qwen_embed_integrations.errors.LongTextWarning")
async def test_usage_counts_the_texts_that_were_cut(server: loopback.Server, reranker_server: loopback.Server) -> None:
    async with Embedder.served(EMBEDDING, base_url=server.base_url) as embedder:
        embedder.embed_documents([LONG, "word", LONG])
        await embedder.aembed_queries([LONG])
        await embedder.aembed_lists(["word"], "document")
        assert embedder.usage.shortened == 3
        over = Reranker.over(embedder)
        over.rerank(LONG, [LONG, "word"])
        assert over.usage == embedder.usage
        assert over.usage.shortened == 5
    async with Reranker.served(RERANKER, base_url=reranker_server.base_url) as reranker:
        reranker.rerank("word", [LONG, "word"])
        await reranker.arerank("word", [LONG, LONG])
        assert reranker.usage.shortened == 3
