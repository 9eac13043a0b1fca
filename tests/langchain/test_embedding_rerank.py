"""An embedding model as the second stage of a LangChain retriever."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from qwen_embed_integrations import ModelProfile
from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.langchain import EmbeddingRerank, RerankRetriever, ServedEmbeddings

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.documents import Document

    from loopback import Server

    Served = Callable[..., ServedEmbeddings]

QUERY = "where do cats sleep?"


async def test_documents_come_in_the_order_of_their_cosines(served: Served, documents: list[Document]) -> None:
    embeddings = served()
    rerank = EmbeddingRerank(embeddings=embeddings)
    vectors = embeddings.embedder.embed_documents([document.page_content for document in documents])
    wanted = vectors @ embeddings.embedder.embed_queries([QUERY])[0]
    results = rerank.compress_documents(documents, QUERY)
    assert [document.id for document in results] == [documents[position].id for position in (-wanted).argsort()]
    assert [document.metadata["relevance_score"] for document in results] == pytest.approx(
        sorted(wanted.tolist(), reverse=True), abs=1e-6
    )
    assert await rerank.acompress_documents(documents, QUERY) == results


def test_it_reranks_for_the_retriever(served: Served, documents: list[Document]) -> None:
    from langchain_core.vectorstores import InMemoryVectorStore  # noqa: PLC0415 this test's alone

    store = InMemoryVectorStore(served(dimensions=64))
    store.add_documents(documents)
    rerank = EmbeddingRerank(embeddings=served())
    results = RerankRetriever(retriever=store.as_retriever(), reranker=rerank, k=2).invoke(QUERY)
    assert [document.id for document in results] == [
        document.id for document in rerank.compress_documents(documents, QUERY, top_n=2)
    ]


def test_settings_of_any_reranker_hold(served: Served, server: Server, documents: list[Document]) -> None:
    embeddings = served()
    assert len(EmbeddingRerank(embeddings=embeddings, top_n=1).compress_documents(documents, QUERY)) == 1
    assert EmbeddingRerank(embeddings=embeddings, score_threshold=0.99).compress_documents(documents, QUERY) == []
    EmbeddingRerank(embeddings=embeddings, instruction="Find pets").rerank(documents, QUERY)
    assert f"Instruct: Find pets\nQuery:{QUERY}" in server.texts()


def test_an_instruction_is_refused_at_once_where_the_model_takes_none(served: Served) -> None:
    plain = served(profile=ModelProfile(name="plain", dimensions=1024))
    with pytest.raises(InvalidInputError, match="takes none"):
        EmbeddingRerank(embeddings=plain, instruction="Find pets")


def test_what_is_no_embedding_model_of_ours_is_refused() -> None:
    with pytest.raises(ValidationError, match="embeddings"):
        EmbeddingRerank(embeddings="Qwen/Qwen3-Embedding-0.6B")


def test_it_works_after_its_embeddings_were_closed(served: Served, documents: list[Document]) -> None:
    embeddings = served()
    rerank = EmbeddingRerank(embeddings=embeddings)
    before = rerank.rerank(documents, QUERY)
    embeddings.close()
    assert rerank.rerank(documents, QUERY) == before


def test_it_comes_back_from_its_pickle(served: Served, documents: list[Document]) -> None:
    rerank = EmbeddingRerank(embeddings=served(dimensions=64), top_n=2)
    again = pickle.loads(pickle.dumps(rerank))  # noqa: S301 its own
    assert again.rerank(documents, QUERY) == rerank.rerank(documents, QUERY)
    again.embeddings.close()
