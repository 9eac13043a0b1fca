"""How long 64 callers wait who each ask for one query's vector at the same time, and how long one who asks alone.

    pip install -c constraints.txt -e '.[langchain,llama-index,local,benchmark,demo]' --group peers
    python benchmarks/speed/many_callers.py

or, on a bare machine with a card, torch 2.11, transformers 5.17, safetensors and numpy, from a clone:

    PYTHONPATH=src python benchmarks/speed/many_callers.py --device cuda

All callers share one object: this package's `Embedder`, its local class of a framework, or LlamaIndex's
`HuggingFaceEmbedding`, for which transformers behind a lock stands in where LlamaIndex is missing. They are threads
that begin together, or coroutines of one event loop. A lone query is also computed without what callers share, directly
on the model: the difference is what sharing costs. Every object runs in turn with `Embedder`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from support import options
from support.callers import OurEmbedder, by_asyncio, by_threads, loaders, one_by_one
from support.clock import Budget, Contender, forget, in_turn
from support.report import Record, Table
from support.shapes import SHAPES, checkpoint
from support.texts import WORKLOADS, TextMaker

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from support.callers import Calls, Shared

PACKAGES = (
    "qwen-embed-integrations",
    "torch",
    "transformers",
    "sentence-transformers",
    "langchain-core",
    "llama-index-core",
    "llama-index-embeddings-huggingface",
)
MODELS = [name for name, shape in SHAPES.items() if shape.kind in {"qwen3", "installed"}]
DEFAULT_MODELS = {"cpu": ["minilm", "qwen3"], "cuda": ["qwen3"]}
NUMBERS = ("all done, s", "ours is", "p50, ms", "p95, ms", "runs", "row, s")
WAYS: dict[str, Calls] = {"threads": by_threads, "asyncio": by_asyncio, "alone": one_by_one}
_LONE = 10  # lone queries in a run
_WARMING = 4


@dataclass(frozen=True)
class Row:
    """What was measured for an object and a kind of callers.

    Attributes:
        model: The model.
        contender: The object.
        callers: `"threads"`, `"asyncio"`, or `"alone"`: one query after the other.
        queries: How many in a run.
        seconds: Until all were served, median over the runs.
        runs: How many there were.
        ours: How many times as fast `Embedder` was in the same runs.
        p50: Median wait for a query in milliseconds, over all runs.
        p95: The wait that 95 of 100 queries did not exceed, in milliseconds.
        row_seconds: What the row took to measure.
    """

    model: str
    contender: str
    callers: str
    queries: int
    seconds: float
    runs: int
    ours: float
    p50: float
    p95: float
    row_seconds: float

    def cells(self) -> list[str]:
        """Return what stands in the table."""
        return [
            self.contender,
            self.callers if self.callers == "alone" else f"{self.queries} {self.callers}",
            f"{self.seconds:.3f}",
            f"{self.ours:.2f}x",
            f"{self.p50:.2f}",
            f"{self.p95:.2f}",
            str(self.runs),
            f"{self.row_seconds:.0f}",
        ]


class Bench:
    """One model, and the queries that are asked of it."""

    def __init__(self, model: str, queries: list[str], given: argparse.Namespace) -> None:
        self.model, self.queries, self.given = model, queries, given

    def row(self, shared: Shared, callers: str, ours: Shared) -> Row:
        """Measure an object, in turn with `Embedder` unless it is that."""
        budget = Budget(self.given.row_seconds)
        queries = self.queries[: _LONE if callers == "alone" else self.given.callers]
        waits: dict[str, list[float]] = {}

        def contender(one: Shared) -> Contender:
            waits[one.name] = []
            WAYS[callers](one, queries[:_WARMING])
            return Contender(one.name, lambda _: waits[one.name].extend(WAYS[callers](one, queries)))

        contenders = [contender(one) for one in ([shared] if shared is ours else [shared, ours])]
        timing, *our_timing = in_turn(contenders, self.given.rounds, budget)
        p50, p95 = np.percentile(np.array(waits[shared.name]) * 1000, [50, 95])
        return Row(
            model=self.model,
            contender=shared.name,
            callers=callers,
            queries=len(queries),
            seconds=timing.seconds,
            runs=timing.runs,
            ours=timing.seconds / (our_timing[0].seconds if our_timing else timing.seconds),
            p50=float(p50),
            p95=float(p95),
            row_seconds=budget.spent,
        )


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    made = options.parser_of(__doc__, rounds=5)
    options.add_model_options(made)
    made.add_argument(
        "--models",
        type=options.names_of(MODELS),
        metavar="NAME,NAME",
        help=f"of {','.join(MODELS)}",
    )
    made.add_argument("--callers", type=options.at_least_one, default=64, help="callers that come together")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare how this package's local classes and their peer serve many callers."""
    reader = parser()
    given = reader.parse_args(arguments)
    compute = options.set_up(reader, given)
    settings = {"device": given.device, "dtype": compute.dtype_name, "seed": given.seed, "shape": given.shape}
    record = Record(options.command_line(reader, arguments), PACKAGES, settings, given.output)
    for name in given.models or DEFAULT_MODELS[given.device]:
        shape = SHAPES[name].changed(given.shape)
        with checkpoint(shape, compute, seed=given.seed, parent=given.folder) as folder:
            maker = TextMaker(folder, shape.query_prefix, given.seed)
            bench = Bench(shape.name, maker.make(WORKLOADS["queries"], max(given.callers, _LONE)).texts, given)
            table = Table(f"{shape.name}, queries of 5 to 20 tokens", {"object": 34, "callers": 12}, NUMBERS)

            def add(row: Row, table: Table = table) -> None:
                record.add(row)
                table.row(*row.cells())

            our_embedder = OurEmbedder(folder, compute)
            ours = our_embedder.shared
            for callers in WAYS:
                add(bench.row(ours, callers, ours))
            add(bench.row(our_embedder.direct(), "alone", ours))
            for load in loaders(folder, shape, compute):
                shared = load()
                for callers in WAYS:
                    add(bench.row(shared, callers, ours))
                shared.close()
                del shared, load
                forget()
            ours.close()
            del ours, our_embedder
            forget()
    return 0


if __name__ == "__main__":
    sys.exit(main())
