from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.vectorstores import InMemoryVectorStore

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.langchain import RerankRetriever, ServedEmbeddings, ServedRerank

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.callbacks import Callbacks
    from langchain_core.retrievers import BaseRetriever

    from loopback import Server

    Rerank = Callable[..., ServedRerank]

QUERY = "cats sleep"


@pytest.fixture
def candidates(served: Callable[..., ServedEmbeddings]) -> BaseRetriever:
    texts = ["cats", "cats sleep", "dogs", "cats eat", "markets fall", "sleep well"]
    return InMemoryVectorStore.from_texts(texts, served()).as_retriever(search_kwargs={"k": 6})


class Backwards(BaseDocumentCompressor):
    """Somebody else's compressor: no scores, no per-call limit."""

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        del query, callbacks
        return tuple(reversed(documents))


def _contents(documents: list[Document]) -> list[str]:
    return [document.page_content for document in documents]


def test_candidates_are_reranked_and_cut_to_k(candidates: BaseRetriever, served_rerank: Rerank) -> None:
    results = RerankRetriever(retriever=candidates, reranker=served_rerank(), k=1).invoke(QUERY)
    assert _contents(results) == ["cats sleep"]
    assert results[0].metadata["relevance_score"] == 1.0


async def test_async_gives_the_same_documents(candidates: BaseRetriever, served_rerank: Rerank) -> None:
    retriever = RerankRetriever(retriever=candidates, reranker=served_rerank(), k=3)
    assert await retriever.ainvoke(QUERY) == retriever.invoke(QUERY)


def test_without_k_the_reranker_decides_how_many(candidates: BaseRetriever, served_rerank: Rerank) -> None:
    assert len(RerankRetriever(retriever=candidates, reranker=served_rerank()).invoke(QUERY)) == 6
    assert len(RerankRetriever(retriever=candidates, reranker=served_rerank(top_n=2)).invoke(QUERY)) == 2


def test_k_wins_over_the_rerankers_top_n(candidates: BaseRetriever, served_rerank: Rerank) -> None:
    retriever = RerankRetriever(retriever=candidates, reranker=served_rerank(top_n=2), k=4)
    assert len(retriever.invoke(QUERY)) == 4


async def test_k_of_a_call_wins_over_all(candidates: BaseRetriever, served_rerank: Rerank) -> None:
    retriever = RerankRetriever(retriever=candidates, reranker=served_rerank(top_n=2), k=4)
    assert len(retriever.invoke(QUERY, k=3)) == 3
    assert len(await retriever.ainvoke(QUERY, k=5)) == 5


def test_the_threshold_still_holds(candidates: BaseRetriever, served_rerank: Rerank) -> None:
    retriever = RerankRetriever(retriever=candidates, reranker=served_rerank(score_threshold=0.9), k=4)
    assert _contents(retriever.invoke(QUERY)) == ["cats sleep"]


def test_any_document_compressor_will_do(candidates: BaseRetriever) -> None:
    retriever = RerankRetriever(retriever=candidates, reranker=Backwards(), k=2)
    assert _contents(retriever.invoke(QUERY)) == _contents(candidates.invoke(QUERY))[::-1][:2]


def test_nothing_found_is_nothing_reranked(
    served: Callable[..., ServedEmbeddings], served_rerank: Rerank, reranker_server: Server
) -> None:
    empty = InMemoryVectorStore(served()).as_retriever()
    assert RerankRetriever(retriever=empty, reranker=served_rerank(), k=2).invoke(QUERY) == []
    assert reranker_server.requests == []


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(candidates: BaseRetriever, served_rerank: Rerank, k: int) -> None:
    with pytest.raises(ValueError, match="k"):
        RerankRetriever(retriever=candidates, reranker=served_rerank(), k=k)
    with pytest.raises(InvalidInputError, match="`k`"):
        RerankRetriever(retriever=candidates, reranker=served_rerank()).invoke(QUERY, k=k)


def test_an_unknown_setting_is_refused(candidates: BaseRetriever, served_rerank: Rerank) -> None:
    with pytest.raises(ValueError, match="top_k"):
        RerankRetriever(retriever=candidates, reranker=served_rerank(), top_k=3)


def test_it_runs_in_a_chain_and_in_batches(candidates: BaseRetriever, served_rerank: Rerank) -> None:
    retriever = RerankRetriever(retriever=candidates, reranker=served_rerank(), k=1)
    first = retriever | (lambda documents: documents[0].page_content)
    assert first.batch(["cats sleep", "dogs"]) == ["cats sleep", "dogs"]


def test_the_repr_shows_no_secrets(candidates: BaseRetriever, served_rerank: Rerank) -> None:
    reranker = served_rerank(api_key="sk-secret", default_headers={"Authorization": "hush-hush"})
    shown: Any = repr(RerankRetriever(retriever=candidates, reranker=reranker))
    assert "sk-secret" not in shown
    assert "hush-hush" not in shown
