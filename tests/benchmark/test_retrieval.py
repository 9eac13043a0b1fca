from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from qwen_embed_integrations.benchmark import DenseSystem, FusionSystem, LexicalSystem, RerankedSystem
from qwen_embed_integrations.benchmark.ranking import ranked
from qwen_embed_integrations.benchmark.retrieval import DenseRetriever, Stopwatch
from qwen_embed_integrations.errors import InvalidInputError

if TYPE_CHECKING:
    import loopback
    from qwen_embed_integrations import Embedder, Reranker
    from qwen_embed_integrations.benchmark import Dataset
    from qwen_embed_integrations.benchmark.shared_parts import SharedParts


def test_cut_vectors_are_the_first_numbers_at_length_one(
    shared: SharedParts, embedder: Embedder, dataset: Dataset
) -> None:
    retriever = shared.retriever(DenseSystem("small", embedder, 16))
    assert isinstance(retriever, DenseRetriever)
    full = embedder.embed_documents(dataset.documents.values())[:, :16]
    expected = full / np.linalg.norm(full, axis=1, keepdims=True)
    query = embedder.embed_queries(["bako delu firo"])[:, :16]
    similarities = expected @ (query / np.linalg.norm(query))[0]
    found = retriever.search("bako delu firo", 60, Stopwatch())
    np.testing.assert_allclose([found[key] for key in dataset.documents], similarities, atol=1e-5)


def test_more_dimensions_than_the_model_has_are_refused(shared: SharedParts, embedder: Embedder) -> None:
    with pytest.raises(InvalidInputError, match="`dimensions` is 65, but the vectors of hashed-words have 64"):
        shared.retriever(DenseSystem("big", embedder, 65))


def test_a_query_asked_alone_gets_the_answer_it_gets_among_all(
    shared: SharedParts, embedder: Embedder, reranker: Reranker, dataset: Dataset
) -> None:
    dense, lexical = DenseSystem("dense", embedder), LexicalSystem()
    fusion = FusionSystem("both", (dense, lexical))
    for system in (dense, lexical, fusion, RerankedSystem("again", dense, reranker, 20)):
        retriever = shared.retriever(system)
        for index, query in enumerate(list(dataset.queries.values())[:5]):
            alone = retriever.search(query, 10, Stopwatch())
            among = retriever.results[index]
            assert [alone[key] for key in ranked(alone)] == pytest.approx([among[key] for key in ranked(among, 10)])


def test_each_stage_of_a_query_is_timed(shared: SharedParts, embedder: Embedder, reranker: Reranker) -> None:
    dense = DenseSystem("dense", embedder)
    stages = {}
    for system in (
        dense,
        LexicalSystem(),
        FusionSystem("both", (dense, LexicalSystem())),
        RerankedSystem("again", dense, reranker),
    ):
        watch = Stopwatch()
        shared.retriever(system).search("bako delu", 10, watch)
        assert all(seconds > 0 for seconds in watch.seconds.values())
        stages[system.name] = sorted(watch.seconds)
    assert stages == {
        "dense": ["embed", "search"],
        "BM25": ["search"],
        "both": ["embed", "search"],
        "again": ["embed", "rerank", "search"],
    }


def test_a_reranker_scores_the_first_documents_only(
    shared: SharedParts, embedder: Embedder, reranker: Reranker, reranker_server: loopback.Server, dataset: Dataset
) -> None:
    dense = DenseSystem("dense", embedder)
    results = shared.retriever(RerankedSystem("again", dense, reranker, 5)).results
    first = shared.retriever(dense).results
    sent = reranker_server.posted("/rerank")[0].body
    assert sent["documents"] == [dataset.documents[key] for key in ranked(first[0], 5)]
    assert set(results[0]) == set(ranked(first[0], 5))
    wanted = set(dataset.queries["q00"].split())
    for key, score in results[0].items():  # the server scores by shared words
        assert score == pytest.approx(len(wanted & set(dataset.documents[key].split())) / len(wanted))


def test_a_reranker_is_not_asked_about_nothing(
    shared: SharedParts, reranker: Reranker, reranker_server: loopback.Server
) -> None:
    retriever = shared.retriever(RerankedSystem("again", LexicalSystem(), reranker))
    assert retriever.search("nothing like it", 10, Stopwatch()) == {}
    assert reranker_server.posted("/rerank") == []
