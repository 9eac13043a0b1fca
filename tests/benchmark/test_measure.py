from __future__ import annotations

import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from qwen_embed_integrations import Embedder, ModelProfile
from qwen_embed_integrations.benchmark import Dataset, DenseSystem, IndexSettings, LexicalSystem
from qwen_embed_integrations.benchmark.index import exact_search, overlap
from qwen_embed_integrations.benchmark.measure import Measured, Sample, measure
from qwen_embed_integrations.benchmark.metrics import evaluate
from qwen_embed_integrations.benchmark.progress import Silent
from qwen_embed_integrations.benchmark.retrieval import Stopwatch
from qwen_embed_integrations.benchmark.shared_parts import SharedParts
from qwen_embed_integrations.engine import Batch, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence
    from pathlib import Path

    from qwen_embed_integrations.benchmark import System

SIZE = 64


class RandomEngine:
    """Gives each text a direction of its own, the same each time."""

    identity: dict[str, str | None] = {"model": "random"}  # noqa: RUF012 never changed
    size = SIZE
    usage = Usage()

    def embed(self, texts: Sequence[str]) -> Iterator[Batch]:
        rows = [np.random.default_rng(zlib.crc32(text.encode())).standard_normal(SIZE) for text in texts]
        yield Batch(range(len(texts)), np.array(rows, np.float32))

    async def aembed(self, texts: Sequence[str]) -> AsyncGenerator[Batch, None]:
        for batch in self.embed(texts):
            yield batch

    def close(self) -> None: ...

    async def aclose(self) -> None: ...


def measured(system: System, dataset: Dataset, shared: SharedParts) -> Measured:
    return measure(system, dataset, shared, Sample([0, 1], [0, 1, 2]), seed=0, progress=Silent())


def test_judgements_belong_to_queries_in_whatever_order_they_come(dataset: Dataset, tmp_path: Path) -> None:
    turned = replace(dataset, relevance=dict(reversed(dataset.relevance.items())))
    outcomes = []
    for name, each in (("as", dataset), ("turned", turned)):
        with SharedParts(each, tmp_path / name, IndexSettings(), depth=100) as shared:
            outcomes.append(measured(LexicalSystem(), each, shared))
    assert outcomes[0].result.metrics["nDCG@10"].mean > 0.5
    assert outcomes[0].result.metrics == outcomes[1].result.metrics
    assert outcomes[0].ranks == outcomes[1].ranks


@pytest.mark.parametrize("ef_search", [10, 500])
def test_the_search_that_is_judged_is_the_search_that_is_timed(tmp_path: Path, ef_search: int) -> None:
    documents = {f"d{index:04}": f"document {index}" for index in range(3000)}
    queries = {f"q{index:02}": f"query {index}" for index in range(40)}
    embedder = Embedder(RandomEngine(), ModelProfile(name="random", dimensions=SIZE))
    rows, asked = embedder.embed_documents(documents.values()), embedder.embed_queries(queries.values())
    exact = exact_search(list(documents), rows, asked, 10)
    relevance = {query: dict.fromkeys(found, 1) for query, found in zip(queries, exact, strict=True)}
    dataset = Dataset("random", documents, queries, relevance)
    system = DenseSystem("random", embedder)
    with SharedParts(dataset, tmp_path, IndexSettings(ef_search=ef_search), depth=100) as shared:
        result = measured(system, dataset, shared).result
        retriever = shared.retriever(system)
        alone = [retriever.search(query, 10, Stopwatch()) for query in queries.values()]
        deeper = [dict(list(found.items())[:10]) for found in retriever.results]
    assert result.index_check is not None
    assert result.index_check.recall_at_10 == pytest.approx(overlap(alone, exact))
    expected = evaluate(alone, list(relevance.values()))["nDCG@10"].mean()
    assert result.metrics["nDCG@10"].mean == pytest.approx(expected)
    assert result.index_check.exact["nDCG@10"] == pytest.approx(1)
    if ef_search == 10:
        assert overlap(alone, exact) < overlap(deeper, exact)  # else this could not tell them apart
