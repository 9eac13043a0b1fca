from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import chromadb
import pytest
from llama_index.core import Settings, StorageContext, VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.schema import Document, QueryBundle
from llama_index.vector_stores.chroma import ChromaVectorStore

from qwen_embed_integrations.llama_index import RankedNode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import loopback
    from qwen_embed_integrations.llama_index import LocalEmbedding, ServedEmbedding, ServedRerank

    Served = Callable[..., ServedEmbedding]
    Reranking = Callable[..., ServedRerank]

FACTS = {
    "whale": "The blue whale is the largest animal that has ever lived; it feeds on krill.",
    "everest": "Mount Everest, on the border of Nepal and Tibet, is the highest mountain above sea level.",
    "python": "Python is a programming language that marks blocks with indentation.",
    "bread": "Sourdough bread rises by wild yeast and lactic acid bacteria.",
    "moon": "The Moon goes around the Earth once in about 27 days.",
    "printing": "Johannes Gutenberg introduced the movable-type printing press to Europe around 1440.",
}
QUESTIONS = {
    "Which creature is bigger than all others?": "whale",
    "How tall is the tallest peak?": "everest",
    "Which language uses whitespace instead of braces?": "python",
    "Who made it possible to print books?": "printing",
}


@pytest.fixture
def chroma(tmp_path: Path) -> chromadb.Collection:
    client = chromadb.PersistentClient(str(tmp_path))
    return client.create_collection(f"facts-{uuid.uuid4().hex}", configuration={"hnsw": {"space": "cosine"}})


def documents() -> list[Document]:
    return [Document(text=text, id_=name) for name, text in FACTS.items()]


def build(embedding: LocalEmbedding | ServedEmbedding, chroma: chromadb.Collection) -> VectorStoreIndex:
    storage = StorageContext.from_defaults(vector_store=ChromaVectorStore(chroma_collection=chroma))
    return VectorStoreIndex.from_documents(documents(), storage_context=storage, embed_model=embedding)


async def test_questions_find_their_facts_in_chroma(local: LocalEmbedding, chroma: chromadb.Collection) -> None:
    retriever = build(local, chroma).as_retriever(similarity_top_k=1)
    results = {question: retriever.retrieve(question)[0].node.ref_doc_id for question in QUESTIONS}
    afound = {question: (await retriever.aretrieve(question))[0].node.ref_doc_id for question in QUESTIONS}
    assert results == afound == QUESTIONS


async def test_a_query_engine_answers_from_what_was_found(local: LocalEmbedding, chroma: chromadb.Collection) -> None:
    engine = RetrieverQueryEngine(
        retriever=build(local, chroma).as_retriever(similarity_top_k=2),
        response_synthesizer=get_response_synthesizer(llm=MockLLM()),
    )
    assert FACTS["whale"] in str(engine.query("Which creature is bigger than all others?"))
    assert FACTS["everest"] in str(await engine.aquery("How tall is the tallest peak?"))


def test_an_index_can_be_opened_again(local: LocalEmbedding, chroma: chromadb.Collection) -> None:
    build(local, chroma)
    store = ChromaVectorStore(chroma_collection=chroma)
    again = VectorStoreIndex.from_vector_store(store, embed_model=local)
    (results,) = again.as_retriever(similarity_top_k=1).retrieve("Who made it possible to print books?")
    assert results.node.ref_doc_id == "printing"


@pytest.fixture
def settings() -> Iterator[None]:
    """Put LlamaIndex's global settings back afterwards."""
    before = Settings._embed_model, Settings._llm
    yield
    Settings._embed_model, Settings._llm = before


@pytest.mark.usefixtures("settings")
def test_settings_take_it_as_the_embed_model(local: LocalEmbedding) -> None:
    Settings.embed_model = local
    Settings.llm = MockLLM()
    engine = VectorStoreIndex.from_documents(documents()).as_query_engine(similarity_top_k=1)
    assert FACTS["bread"] in str(engine.query("What makes dough rise?"))


def test_a_reranker_reorders_what_was_retrieved(
    local: LocalEmbedding, chroma: chromadb.Collection, reranking: Reranking
) -> None:
    engine = RetrieverQueryEngine.from_args(
        build(local, chroma).as_retriever(similarity_top_k=6),
        llm=MockLLM(),
        node_postprocessors=[reranking(top_n=2)],
    )
    nodes = engine.query("wild yeast and krill").source_nodes
    assert nodes[0].node.ref_doc_id == "bread"
    assert len(nodes) == 2
    assert all(isinstance(node, RankedNode) and 0 < node.retrieval_score < 1 for node in nodes)


def test_async_queries_work_in_one_event_loop_after_another(
    served: Served, chroma: chromadb.Collection, reranking: Reranking
) -> None:
    engine = RetrieverQueryEngine.from_args(
        build(served(), chroma).as_retriever(similarity_top_k=6), llm=MockLLM(), node_postprocessors=[reranking()]
    )
    answers = [asyncio.run(engine.aquery("wild yeast")).source_nodes[0].node.ref_doc_id for _ in range(2)]
    assert answers == ["bread", "bread"]


def test_an_index_sends_documents_plain_and_queries_with_the_instruction(
    served: Served, server: loopback.Server, chroma: chromadb.Collection
) -> None:
    retriever = build(served(query_instruction="Find the fact"), chroma).as_retriever()
    assert sorted(server.texts()) == sorted(FACTS.values())
    retriever.retrieve(QueryBundle("Who?"))
    assert server.texts()[-1] == "Instruct: Find the fact\nQuery:Who?"


def test_an_index_of_thousands_of_nodes_goes_through_chroma(served: Served, chroma: chromadb.Collection) -> None:
    many = [Document(text=f"document number {number}") for number in range(6000)]
    store = ChromaVectorStore(chroma_collection=chroma)
    VectorStoreIndex.from_documents(
        many,
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=served(dimensions=32, batch_size=512),
    )
    assert chroma.count() == 6000
