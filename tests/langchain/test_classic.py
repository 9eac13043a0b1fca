from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from langchain_core.vectorstores import InMemoryVectorStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.documents import Document

    from qwen_embed_integrations.langchain import ServedEmbeddings, ServedRerank

QUERY = "where do cats sleep"

classic = pytest.importorskip("langchain_classic.retrievers")
compressors = pytest.importorskip("langchain_classic.retrievers.document_compressors")


async def test_it_compresses_in_a_contextual_compression_retriever(
    served: Callable[..., ServedEmbeddings], served_rerank: Callable[..., ServedRerank], documents: list[Document]
) -> None:
    retriever = classic.ContextualCompressionRetriever(
        base_retriever=InMemoryVectorStore.from_documents(documents, served()).as_retriever(),
        base_compressor=served_rerank(top_n=2),
    )
    results = retriever.invoke(QUERY)
    assert [document.id for document in results] == ["b", "a"]
    assert await retriever.ainvoke(QUERY) == results


async def test_it_compresses_in_a_pipeline(
    served_rerank: Callable[..., ServedRerank], documents: list[Document]
) -> None:
    pipeline = compressors.DocumentCompressorPipeline(transformers=[served_rerank(), served_rerank(top_n=1)])
    results = pipeline.compress_documents(documents, QUERY)
    assert [document.id for document in results] == ["b"]
    assert await pipeline.acompress_documents(documents, QUERY) == results
