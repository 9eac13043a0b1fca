"""LangChain's and LlamaIndex's classes over real servers, sync and async."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core.schema import NodeWithScore, TextNode

from qwen_embed_integrations import langchain, llama_index
from recipes import last_token_vectors, official_scores

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from qwen_embed_integrations import ModelProfile

T = TypeVar("T")
DEFAULT = "Given a web search query, retrieve relevant passages that answer the query"
QUERY = "which search engine?"
PROMPTED = f"Instruct: {DEFAULT}\nQuery:{QUERY}"
DIMENSIONS = 48


@contextmanager
def closing(made: T) -> Iterator[T]:
    yield made
    made.close()  # type: ignore[attr-defined]


@pytest.fixture
def embedding_settings(embedding_url: str, tiny_embedder: Path, tiny_profile: ModelProfile) -> dict[str, Any]:
    address = {"model": str(tiny_embedder), "base_url": f"{embedding_url}/v1"}
    return {**address, "profile": tiny_profile, "dimensions": DIMENSIONS, "batch_size": 16}


@pytest.fixture
def langchain_embeddings(embedding_settings: dict[str, Any]) -> Iterator[langchain.ServedEmbeddings]:
    with closing(langchain.ServedEmbeddings(**embedding_settings)) as ours:
        yield ours


@pytest.fixture
def llama_index_embedding(embedding_settings: dict[str, Any]) -> Iterator[llama_index.ServedEmbedding]:
    with closing(llama_index.ServedEmbedding(**embedding_settings)) as ours:
        yield ours


@pytest.fixture
def langchain_rerank(rerank_url: str, reranker_name: str) -> Iterator[langchain.ServedRerank]:
    with closing(langchain.ServedRerank(model=reranker_name, base_url=rerank_url, top_n=4)) as ours:
        yield ours


@pytest.fixture
def llama_index_rerank(rerank_url: str, reranker_name: str) -> Iterator[llama_index.ServedRerank]:
    with closing(llama_index.ServedRerank(reranker_name, base_url=rerank_url, top_n=4)) as ours:
        yield ours


@pytest.fixture
def documents_wanted(tiny_embedder: Path, texts: list[str]) -> np.ndarray:
    return vectors_wanted(tiny_embedder, texts)


@pytest.fixture
def query_wanted(tiny_embedder: Path) -> np.ndarray:
    row: np.ndarray = vectors_wanted(tiny_embedder, [PROMPTED])[0]
    return row


@pytest.fixture
def scores_wanted(tiny_reranker: Path, texts: list[str]) -> np.ndarray:
    return official_scores(tiny_reranker, QUERY, texts, DEFAULT)


def vectors_wanted(folder: Path, texts: list[str]) -> np.ndarray:
    kept = last_token_vectors(folder, texts)[:, :DIMENSIONS]
    found: np.ndarray = kept / np.linalg.norm(kept, axis=1, keepdims=True)
    return found


def check_vectors(found: Any, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(np.array(found), wanted, atol=1e-5)


def check_best(found: list[tuple[int, float]], wanted: np.ndarray) -> None:
    """Hold the best four and their scores against all scores."""
    np.testing.assert_allclose([score for _, score in found], np.sort(wanted)[::-1][:4], atol=1e-4)
    np.testing.assert_allclose([wanted[at] for at, _ in found], [score for _, score in found], atol=1e-4)


def test_langchain_embeddings(
    langchain_embeddings: langchain.ServedEmbeddings,
    texts: list[str],
    documents_wanted: np.ndarray,
    query_wanted: np.ndarray,
) -> None:
    check_vectors(langchain_embeddings.embed_documents(texts), documents_wanted)
    check_vectors(langchain_embeddings.embed_query(QUERY), query_wanted)


async def test_langchain_embeddings_async(
    langchain_embeddings: langchain.ServedEmbeddings,
    texts: list[str],
    documents_wanted: np.ndarray,
    query_wanted: np.ndarray,
) -> None:
    check_vectors(await langchain_embeddings.aembed_documents(texts), documents_wanted)
    check_vectors(await langchain_embeddings.aembed_query(QUERY), query_wanted)
    await langchain_embeddings.aclose()


def test_llama_index_embedding(
    llama_index_embedding: llama_index.ServedEmbedding,
    texts: list[str],
    documents_wanted: np.ndarray,
    query_wanted: np.ndarray,
) -> None:
    check_vectors(llama_index_embedding.get_text_embedding_batch(texts), documents_wanted)
    check_vectors(llama_index_embedding.get_text_embedding(texts[0]), documents_wanted[0])
    check_vectors(llama_index_embedding.get_query_embedding(QUERY), query_wanted)


async def test_llama_index_embedding_async(
    llama_index_embedding: llama_index.ServedEmbedding,
    texts: list[str],
    documents_wanted: np.ndarray,
    query_wanted: np.ndarray,
) -> None:
    check_vectors(await llama_index_embedding.aget_text_embedding_batch(texts), documents_wanted)
    check_vectors(await llama_index_embedding.aget_query_embedding(QUERY), query_wanted)
    await llama_index_embedding.aclose()


def test_langchain_rerank(
    langchain_rerank: langchain.ServedRerank, texts: list[str], scores_wanted: np.ndarray
) -> None:
    given = [Document(text, metadata={"at": at}) for at, text in enumerate(texts)]
    found = langchain_rerank.compress_documents(given, QUERY)
    check_best([(each.metadata["at"], each.metadata["relevance_score"]) for each in found], scores_wanted)


async def test_langchain_rerank_async(
    langchain_rerank: langchain.ServedRerank, texts: list[str], scores_wanted: np.ndarray
) -> None:
    given = [Document(text, metadata={"at": at}) for at, text in enumerate(texts)]
    found = await langchain_rerank.acompress_documents(given, QUERY)
    check_best([(each.metadata["at"], each.metadata["relevance_score"]) for each in found], scores_wanted)
    await langchain_rerank.aclose()


def test_llama_index_rerank(
    llama_index_rerank: llama_index.ServedRerank, texts: list[str], scores_wanted: np.ndarray
) -> None:
    given = [NodeWithScore(node=TextNode(text=text, metadata={}, id_=str(at))) for at, text in enumerate(texts)]
    found = llama_index_rerank.postprocess_nodes(given, query_str=QUERY)
    check_best([(int(each.node_id), each.get_score()) for each in found], scores_wanted)


async def test_llama_index_rerank_async(
    llama_index_rerank: llama_index.ServedRerank, texts: list[str], scores_wanted: np.ndarray
) -> None:
    given = [NodeWithScore(node=TextNode(text=text, metadata={}, id_=str(at))) for at, text in enumerate(texts)]
    found = await llama_index_rerank.apostprocess_nodes(given, query_str=QUERY)
    check_best([(int(each.node_id), each.get_score()) for each in found], scores_wanted)
    await llama_index_rerank.aclose()


def test_a_langchain_retriever_over_both_servers(
    langchain_embeddings: langchain.ServedEmbeddings,
    langchain_rerank: langchain.ServedRerank,
    texts: list[str],
    tiny_embedder: Path,
    tiny_reranker: Path,
) -> None:
    store = InMemoryVectorStore.from_texts(texts, langchain_embeddings)
    retriever = langchain.RerankRetriever(
        retriever=store.as_retriever(search_kwargs={"k": 20}), reranker=langchain_rerank, k=3
    )
    found = [each.metadata["relevance_score"] for each in retriever.invoke(QUERY)]
    documents, query = vectors_wanted(tiny_embedder, texts), vectors_wanted(tiny_embedder, [PROMPTED])[0]
    near = [texts[at] for at in np.argsort(-(documents @ query))[:20]]
    wanted = np.sort(official_scores(tiny_reranker, QUERY, near, DEFAULT))[::-1][:3]
    np.testing.assert_allclose(found, wanted, atol=1e-4)
