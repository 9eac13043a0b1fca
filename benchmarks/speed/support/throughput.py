"""The rows of one model: what is embedded, and how fast this package and its peers are with it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from support.ceiling import find_ceiling, matrix_rate, parameters
from support.clock import Budget, Contender, Timing, best_batch_size, forget, in_turn
from support.embedders import Ours, reference
from support.texts import WORKLOADS, TextMaker, Texts, Workload

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np

    from support.embedders import Engine
    from support.options import Compute
    from support.shapes import Shape

# Texts of a workload: at least so many, however slow the model is, and at most so many, however fast.
_FEWEST = {"queries": 64, "chunks": 16, "documents": 2}
_FEW, _MOST = 16, 10_000
# Of so many of them, or an eighth where that is more, the best batch size is found.
_SEARCHED = {"query": 64, "document": 8}
_CHECKED = 8
_LONG = Workload("long documents", "document", 1500, 2000)
_LONG_CHECKED = 2
_GIB = 2**30


@dataclass(frozen=True)
class Row:
    """What was measured for a contender with a model and a workload.

    Attributes:
        model: The model.
        workload: The texts.
        contender: Who embedded them.
        batch: Its batch size; None where it chooses for itself.
        texts: How many texts.
        tokens: How many tokens they have.
        tokens_per_second: Median over the runs.
        runs: How many there were.
        ours: How many times as fast this package was in the same runs.
        of_ceiling: Share of the GEMM ceiling; None where computing a shared prompt once goes past it.
        of_matrix_rate: Share of the matrix rate; None for the same reason.
        peak_gib: Most memory allocated on the card, weights included; None on a CPU.
        row_seconds: What the row took to measure.
    """

    model: str
    workload: str
    contender: str
    batch: int | None
    texts: int
    tokens: int
    tokens_per_second: float
    runs: int
    ours: float
    of_ceiling: float | None
    of_matrix_rate: float | None
    peak_gib: float | None
    row_seconds: float

    def cells(self) -> list[str]:
        """Return what stands in the table."""
        return [
            self.contender,
            self.workload,
            "" if self.batch is None else str(self.batch),
            f"{self.texts:,}",
            f"{self.tokens_per_second:,.0f}",
            f"{self.ours:.2f}x",
            "" if self.of_ceiling is None else f"{self.of_ceiling:.0%}",
            "" if self.of_matrix_rate is None else f"{self.of_matrix_rate:.0%}",
            "" if self.peak_gib is None else f"{self.peak_gib:.1f}",
            str(self.runs),
            f"{self.row_seconds:.0f}",
        ]


class Bench:
    """One model: its checkpoint, its texts, its ceilings and its rows."""

    def __init__(self, shape: Shape, folder: Path, given: argparse.Namespace, compute: Compute) -> None:
        self.shape, self.folder, self.given, self.compute = shape, folder, given, compute
        self.ceiling = find_ceiling(folder, compute)
        self.tokens_at_ceiling = self.ceiling.tokens_per_second()
        self.matrix_rate = matrix_rate(compute)
        self.parameters = parameters(folder)
        maker = TextMaker(folder, shape.query_prefix, given.seed)
        chosen = [given.lengths] if given.lengths else [WORKLOADS[name] for name in given.workloads]
        self.work = {workload.name: self._texts(maker, workload) for workload in readable(shape, chosen)}
        checked = readable(shape, [WORKLOADS["queries"], WORKLOADS["chunks"]])
        self.checked = {workload.name: maker.make(workload, _CHECKED) for workload in checked}
        if compute.on_card:
            self.checked |= {work.name: maker.make(work, _LONG_CHECKED) for work in readable(shape, [_LONG])}
        self._our_seconds: dict[str, float] = {}
        forget()

    def _texts(self, maker: TextMaker, workload: Workload) -> Texts:
        """Make as many texts as take the time asked for at the ceiling."""
        tokens = self.given.seconds * self.tokens_at_ceiling
        count = round(tokens / (workload.mean + maker.prompt_tokens(workload.role)))
        return maker.make(workload, self.given.texts or min(max(_FEWEST.get(workload.name, _FEW), count), _MOST))

    def right_vectors(self) -> tuple[dict[str, np.ndarray], str]:
        """Compute what the first vectors are held against, and say in which precision."""
        engine, dtype = reference(self.folder, self.shape, self.compute.device)
        vectors = {name: engine.embed(texts, 4) for name, texts in self.checked.items()}
        engine.close()
        return vectors, dtype

    def our_row(self, ours: Ours, workload: str) -> Row:
        """Measure this package, in turn with both ceilings."""
        texts, budget = self.work[workload], Budget(self.given.row_seconds)
        ours.embed(texts.first(max(1, len(texts) // 8)), None)
        ceilings: list[float] = []
        rates: list[float] = []
        timing, *_ = self._timings(
            [
                Contender(ours.name, lambda _: ours.embed(texts, None)),
                Contender("ceiling", lambda _: ceilings.append(self.ceiling.tokens_per_second())),
                Contender("matrix rate", lambda _: rates.append(matrix_rate(self.compute))),
            ],
            budget,
        )
        self.tokens_at_ceiling = statistics.median(ceilings)
        self.matrix_rate = statistics.median(rates)
        self._our_seconds[workload] = timing.seconds
        return self._row(workload, timing, timing.seconds, budget)

    def peer_row(self, peer: Engine, workload: str, ours: Ours | None) -> Row:
        """Measure a peer, in turn with this package where that is still loaded."""
        texts, budget = self.work[workload], Budget(self.given.row_seconds)
        searched = texts.first(max(_SEARCHED[texts.role], len(texts) // 8))
        sizes = [size for size in self.given.sizes if size <= len(searched)] or [len(searched)]
        peer.embed(texts.first(1), sizes[0])
        batch = best_batch_size(Contender(peer.name, lambda batch: peer.embed(searched, batch)), sizes, budget.half())
        contenders = [Contender(peer.name, lambda batch: peer.embed(texts, batch), batch)]
        if ours is not None:
            contenders.append(Contender(ours.name, lambda _: ours.embed(texts, None)))
        timing, *our_timing = self._timings(contenders, budget)
        our_seconds = our_timing[0].seconds if our_timing else self._our_seconds[workload]
        return self._row(workload, timing, our_seconds, budget)

    def _timings(self, contenders: list[Contender], budget: Budget) -> list[Timing]:
        if self.compute.on_card:
            forget()
            torch.cuda.reset_peak_memory_stats()
        return in_turn(contenders, self.given.rounds, budget)

    def _row(self, workload: str, timing: Timing, our_seconds: float, budget: Budget) -> Row:
        texts = self.work[workload]
        speed = texts.tokens / timing.seconds
        shared = self.shape.kind == "qwen3" and texts.role == "query" and bool(self.shape.query_prefix)
        return Row(
            model=self.shape.name,
            workload=workload,
            contender=timing.name,
            batch=timing.batch,
            texts=len(texts),
            tokens=texts.tokens,
            tokens_per_second=speed,
            runs=timing.runs,
            ours=timing.seconds / our_seconds,
            of_ceiling=None if shared else speed / self.tokens_at_ceiling,
            of_matrix_rate=None if shared else 2 * self.parameters * speed / self.matrix_rate,
            peak_gib=torch.cuda.max_memory_allocated() / _GIB if self.compute.on_card else None,
            row_seconds=budget.spent,
        )


def readable(shape: Shape, workloads: Sequence[Workload]) -> list[Workload]:
    """Return the workloads that a model can read, long texts cut to what it reads."""
    return [
        replace(workload, longest=min(workload.longest, shape.max_tokens))
        for workload in workloads
        if workload.shortest < shape.max_tokens
    ]
