"""Measure one system: quality over all queries, time over some of them asked alone, memory, and the index."""

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
    from qwen_embed_integrations.benchmark.shared_parts import Workbench
    from qwen_embed_integrations.benchmark.systems import System

# An application asks for so many documents; a fusion and a reranker ask their parts for more.
_ASKED = 10
_WARM_UP = 3


@dataclass(frozen=True)
class Sample:
    """Queries that get more than a place in the means.

    Attributes:
        timed: Positions of those asked alone.
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
    system: System, dataset: Dataset, bench: Workbench, sample: Sample, *, seed: int, progress: Progress
) -> Measured:
    """Index, search and measure.

    Args:
        system: What is measured.
        dataset: What is searched.
        bench: Builds it.
        sample: Queries to time and to show.
        seed: Seed of the intervals.
        progress: Hears what is being done.

    Returns:
        Its numbers.

    Raises:
        QwenEmbedError: If its models, server or index fail.
    """
    relevance = [dataset.relevance[query] for query in dataset.queries]
    with MemoryWatch() as memory:
        retriever = bench.retriever(system)
        progress.stage(f"{system.name}: searching for {len(relevance):,} queries")
        results = retriever.results
        progress.stage(f"{system.name}: asking {len(sample.timed):,} queries one by one", timed=True)
        latency = _latency(retriever, dataset, sample.timed)
        interrupts.check()
        progress.stage(f"{system.name}: computing metrics and intervals")
        asked, check = results, None
        if isinstance(retriever, DenseRetriever):
            asked = retriever.top(_ASKED)
            check = _check_index(retriever, asked, relevance)
    values = evaluate(asked, relevance)
    result = SystemResult(
        name=system.name,
        kind=system.kind,
        settings=system.settings(),
        metrics={name: interval(each, seed=seed) for name, each in values.items()},
        indexing=_indexing(retriever.cost, len(dataset.documents)),
        latency=latency,
        index_check=check,
        memory_before_mib=round(memory.before_mib, 1),
        memory_peak_mib=round(memory.peak_mib, 1),
    )
    ranks = [_first_rank(results[at], relevance[at]) for at in sample.shown]
    return Measured(result, values[MAIN_METRIC], ranks)


def _latency(retriever: Retriever, dataset: Dataset, positions: Sequence[int]) -> dict[str, Latency]:
    queries = list(dataset.queries.values())
    for at in positions[:_WARM_UP]:
        retriever.ask(queries[at], _ASKED, Stopwatch())
    watches = []
    for at in positions:
        interrupts.check()
        watch = Stopwatch()
        retriever.ask(queries[at], _ASKED, watch)
        watches.append(watch.seconds)
    stages = {stage: [watch.get(stage, 0.0) for watch in watches] for stage in watches[0]}
    total = [sum(watch.values()) for watch in watches]
    return {stage: _percentiles(seconds) for stage, seconds in {"total": total, **stages}.items()}


def _percentiles(seconds: Sequence[float]) -> Latency:
    p50, p95, p99 = np.percentile(np.asarray(seconds) * 1000, [50, 95, 99])
    return Latency(float(p50), float(p95), float(p99))


def _check_index(
    retriever: DenseRetriever, asked: Sequence[Scores], relevance: Sequence[Mapping[str, int]]
) -> IndexCheck:
    exact = retriever.exact(_ASKED)
    return IndexCheck(
        recall_at_10=overlap(asked, exact),
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
