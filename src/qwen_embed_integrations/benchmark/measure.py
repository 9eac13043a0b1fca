"""Measure one system: quality over all queries, time over some of them sent alone, memory, and the index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qwen_embed_integrations import interrupts
from qwen_embed_integrations.benchmark.environment import MemoryWatch
from qwen_embed_integrations.benchmark.index import overlap
from qwen_embed_integrations.benchmark.metrics import MAIN_METRIC, evaluate
from qwen_embed_integrations.benchmark.ranking import ranked
from qwen_embed_integrations.benchmark.results import IndexCheck, Indexing, Latency, SystemResult
from qwen_embed_integrations.benchmark.retrieval import DenseRetriever, Stopwatch
from qwen_embed_integrations.benchmark.significance import interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from qwen_embed_integrations.benchmark.datasets import Dataset
    from qwen_embed_integrations.benchmark.progress import Progress
    from qwen_embed_integrations.benchmark.ranking import Scores
    from qwen_embed_integrations.benchmark.retrieval import IndexCost, Retriever
    from qwen_embed_integrations.benchmark.shared_parts import SharedParts
    from qwen_embed_integrations.benchmark.systems import System

# So many documents an application retrieves; a fusion and a reranker take more from their shared.
_TOP_K = 10
_WARM_UP = 3


@dataclass(frozen=True)
class Sample:
    """Queries that get more than a place in the means.

    Attributes:
        timed: Positions of those that are also sent alone.
        shown: Positions of those whose ranks are kept.
    """

    timed: Sequence[int]
    shown: Sequence[int]


@dataclass(frozen=True)
class Measured:
    """A result, with what comparisons need.

    Attributes:
        result: For the record.
        values: The main metric of each query, shape `(n,)`.
        ranks: For each query shown, the rank of its first relevant document, or None.
    """

    result: SystemResult
    values: npt.NDArray[np.float64]
    ranks: Sequence[int | None]


def measure(
    system: System, dataset: Dataset, shared: SharedParts, sample: Sample, *, seed: int, progress: Progress
) -> Measured:
    """Index, search and measure.

    Args:
        system: What is measured.
        dataset: What is searched.
        shared: Where its index and its vectors come from.
        sample: Queries to time and to show.
        seed: Seed of the intervals.
        progress: Is told what is being done.

    Returns:
        Its numbers.

    Raises:
        QwenEmbedError: If its models, server or index fail.
    """
    relevance = [dataset.relevance[query] for query in dataset.queries]
    with MemoryWatch() as memory:
        retriever = shared.retriever(system)
        progress.stage(f"{system.name}: searching for {len(relevance):,} queries")
        results = retriever.results
        progress.stage(f"{system.name}: timing {len(sample.timed):,} queries one by one", timed=True)
        latency = _latency(retriever, dataset, sample.timed)
        interrupts.check()
        progress.stage(f"{system.name}: computing metrics and intervals")
        top, check = results, None
        if isinstance(retriever, DenseRetriever):
            top = retriever.top(_TOP_K)
            check = _check_index(retriever, top, relevance)
    values = evaluate(top, relevance)
    result = SystemResult(
        name=system.name,
        kind=system.kind,
        settings=system.settings(),
        metrics={name: interval(of_queries, seed=seed) for name, of_queries in values.items()},
        indexing=_indexing(retriever.cost, len(dataset.documents)),
        latency=latency,
        index_check=check,
        memory_before_mib=round(memory.before_mib, 1),
        memory_peak_mib=round(memory.peak_mib, 1),
    )
    ranks = [_first_rank(results[position], relevance[position]) for position in sample.shown]
    return Measured(result, values[MAIN_METRIC], ranks)


def _latency(retriever: Retriever, dataset: Dataset, positions: Sequence[int]) -> dict[str, Latency]:
    queries = list(dataset.queries.values())
    for position in positions[:_WARM_UP]:
        retriever.search(queries[position], _TOP_K, Stopwatch())
    watches = []
    for position in positions:
        interrupts.check()
        watch = Stopwatch()
        retriever.search(queries[position], _TOP_K, watch)
        watches.append(watch.seconds)
    stages = {stage: [watch.get(stage, 0.0) for watch in watches] for stage in watches[0]}
    total = [sum(watch.values()) for watch in watches]
    return {stage: _percentiles(seconds) for stage, seconds in {"total": total, **stages}.items()}


def _percentiles(seconds: Sequence[float]) -> Latency:
    p50, p95, p99 = np.percentile(np.asarray(seconds) * 1000, [50, 95, 99])
    return Latency(float(p50), float(p95), float(p99))


def _check_index(
    retriever: DenseRetriever, top: Sequence[Scores], relevance: Sequence[Mapping[str, int]]
) -> IndexCheck:
    exact = retriever.exact(_TOP_K)
    return IndexCheck(
        recall_at_10=overlap(top, exact),
        exact={name: float(values.mean()) for name, values in evaluate(exact, relevance).items()},
    )


def _indexing(cost: IndexCost, documents: int) -> Indexing:
    return Indexing(
        documents=documents,
        tokens=cost.tokens,
        embed_seconds=cost.embed_seconds or None,
        store_seconds=cost.store_seconds,
        embed_documents_per_second=documents / cost.embed_seconds if cost.embed_seconds else None,
        store_documents_per_second=documents / cost.store_seconds,
    )


def _first_rank(scores: Scores, judged: Mapping[str, int]) -> int | None:
    ranks = (rank for rank, document in enumerate(ranked(scores), start=1) if judged.get(document, 0) > 0)
    return next(ranks, None)
