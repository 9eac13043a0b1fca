from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.langchain import RerankRetriever, ServedRerank

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    Rerank = Callable[..., ServedRerank]


class Recorder(BaseCallbackHandler):
    """Keeps what LangChain says of retriever runs."""

    run_inline = True

    def __init__(self) -> None:
        self.events: list[tuple[str, str | None]] = []
        self.names: dict[UUID, str] = {}
        self.parents: dict[str, UUID | None] = {}
        self.results: dict[str, Sequence[Document]] = {}

    def on_retriever_start(
        self, _serialized: Any, _query: str, *, run_id: UUID, parent_run_id: UUID | None = None, **options: Any
    ) -> None:
        self.names[run_id] = options["name"]
        self.parents[options["name"]] = parent_run_id
        self.events.append(("start", options["name"]))

    def on_retriever_end(self, documents: Sequence[Document], *, run_id: UUID, **_: Any) -> None:
        self.results[self.names[run_id]] = documents
        self.events.append(("end", self.names[run_id]))

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self.events.append((type(error).__name__, self.names[run_id]))

    def on_chain_start(
        self, _serialized: Any, _inputs: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **options: Any
    ) -> None:
        self.names[run_id] = options["name"]
        self.parents[options["name"]] = parent_run_id


class AsyncRecorder(AsyncCallbackHandler):
    """Keeps what LangChain says of retriever runs, as a coroutine."""

    def __init__(self) -> None:
        self.ended: list[Sequence[Document]] = []

    async def on_retriever_end(self, documents: Sequence[Document], **_: Any) -> None:
        self.ended.append(documents)


class Fixed(BaseRetriever):
    documents: list[Document]

    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        del query
        return self.documents


def test_reranking_is_a_run_that_ends_with_its_documents(served_rerank: Rerank, documents: list[Document]) -> None:
    recorder = Recorder()
    results = served_rerank().compress_documents(documents, "cats", callbacks=[recorder])
    assert recorder.events == [("start", "ServedRerank"), ("end", "ServedRerank")]
    assert recorder.results["ServedRerank"] == results


async def test_async_reranking_is_a_run_that_ends_with_its_documents(
    served_rerank: Rerank, documents: list[Document]
) -> None:
    recorder = AsyncRecorder()
    results = await served_rerank().acompress_documents(documents, "cats", callbacks=[recorder])
    assert recorder.ended == [results]


def test_a_failed_rerank_is_a_failed_run(served_rerank: Rerank) -> None:
    recorder = Recorder()
    with pytest.raises(InvalidInputError):
        served_rerank().compress_documents([Document(" ")], "cats", callbacks=[recorder])
    assert recorder.events == [("start", "ServedRerank"), ("InvalidInputError", "ServedRerank")]


async def test_a_failed_async_rerank_is_a_failed_run(served_rerank: Rerank) -> None:
    recorder = Recorder()
    with pytest.raises(InvalidInputError):
        await served_rerank().acompress_documents([Document(" ")], "cats", callbacks=[recorder])
    assert recorder.events == [("start", "ServedRerank"), ("InvalidInputError", "ServedRerank")]


def test_inside_a_retriever_reranking_is_a_child_run(served_rerank: Rerank, documents: list[Document]) -> None:
    recorder = Recorder()
    retriever = RerankRetriever(retriever=Fixed(documents=documents), reranker=served_rerank())
    retriever.invoke("cats", {"callbacks": [recorder]})
    parent = recorder.parents["ServedRerank"]
    assert parent is not None
    assert recorder.names[parent] == "RerankRetriever"
    assert recorder.parents["Fixed"] == parent


async def test_inside_an_async_retriever_reranking_is_a_child_run(
    served_rerank: Rerank, documents: list[Document]
) -> None:
    recorder = Recorder()
    retriever = RerankRetriever(retriever=Fixed(documents=documents), reranker=served_rerank())
    await retriever.ainvoke("cats", {"callbacks": [recorder]})
    parent = recorder.parents["ServedRerank"]
    assert parent is not None
    assert recorder.names[parent] == "RerankRetriever"


def test_inside_a_chain_that_passes_no_callbacks_reranking_is_a_child_run(
    served_rerank: Rerank, documents: list[Document]
) -> None:
    recorder = Recorder()
    rerank = served_rerank()
    chain = RunnableLambda(lambda query: rerank.compress_documents(documents, query), name="step")
    chain.invoke("cats", {"callbacks": [recorder]})
    parent = recorder.parents["ServedRerank"]
    assert parent is not None
    assert recorder.names[parent] == "step"
