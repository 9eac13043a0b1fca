from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from langchain_core.documents import Document

from qwen_embed_integrations.langchain import RerankRetriever, ServedEmbeddings, ServedRerank

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from langchain_chroma import Chroma

    from loopback import Server

TEXTS = [f"text {number}" for number in range(32)]


@pytest.fixture
def open_store(tmp_path: Path) -> Callable[[ServedEmbeddings], Chroma]:
    chroma = pytest.importorskip("langchain_chroma").Chroma
    settings = pytest.importorskip("chromadb.config").Settings(anonymized_telemetry=False)
    return lambda embeddings: chroma("library", embeddings, persist_directory=str(tmp_path), client_settings=settings)


def test_adding_documents_sends_requests_side_by_side(
    open_store: Callable[[ServedEmbeddings], Chroma], served: Callable[..., ServedEmbeddings], server: Server
) -> None:
    server.latency = 0.05
    store = open_store(served(batch_size=4, max_concurrency=4))
    store.add_documents([Document(text) for text in TEXTS])
    assert server.max_in_flight == 4
    assert len(server.posted("/embeddings")) == 8


async def test_adding_documents_asynchronously_sends_requests_side_by_side(
    open_store: Callable[[ServedEmbeddings], Chroma], served: Callable[..., ServedEmbeddings], server: Server
) -> None:
    server.latency = 0.05
    store = open_store(served(batch_size=4, max_concurrency=4))
    await store.aadd_documents([Document(text) for text in TEXTS])
    assert server.max_in_flight == 4


def test_a_store_opened_again_finds_what_was_added(
    open_store: Callable[[ServedEmbeddings], Chroma], served: Callable[..., ServedEmbeddings]
) -> None:
    embeddings = served()
    open_store(embeddings).add_texts(TEXTS)
    # A document's own vector is the only one near it: the loopback server's vectors are random.
    vector = embeddings.embed_documents(["text 7"])[0]
    (results,) = open_store(embeddings).similarity_search_by_vector(vector, k=1)
    assert results.page_content == "text 7"


def test_a_store_is_reranked(
    open_store: Callable[[ServedEmbeddings], Chroma],
    served: Callable[..., ServedEmbeddings],
    served_rerank: Callable[..., ServedRerank],
) -> None:
    store = open_store(served())
    store.add_texts(TEXTS, ids=[f"id-{number}" for number in range(32)])
    retriever = RerankRetriever(retriever=store.as_retriever(search_kwargs={"k": 32}), reranker=served_rerank(), k=1)
    (results,) = retriever.invoke("text 7")
    assert (results.page_content, results.id) == ("text 7", "id-7")
