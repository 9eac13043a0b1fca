"""How long a query waits until 50 documents are reranked, beside sentence-transformers' `CrossEncoder`.

    pip install -c constraints.txt -e '.[local,benchmark,demo]' --group peers
    python benchmarks/speed/rerank_latency.py

or, on a bare machine with a card, torch 2.11, transformers 5.17, safetensors and numpy, from a clone:

    PYTHONPATH=src python benchmarks/speed/rerank_latency.py --device cuda

The checkpoint has the shape of Qwen3-Reranker-0.6B and random weights. The peer runs both ways it can: on the causal
checkpoint with the prompt as a chat template, and on a conversion to a classifier, whose pairs carry the halves of the
prompt; each at its best batch size, found on some of the documents. Where sentence-transformers is missing,
transformers in padded batches stands in. All read the same prompts in the same precision, tokenizing included. On a CPU
a peer runs in turn with this package, since other work disturbs; on a card one model is loaded at a time. The tokens
are those that pass through the embedding table, padding included. The logits are held against the peer's in that
precision, and those of a few documents in float32 too.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers

from support import options
from support.clock import Budget, Contender, best_batch_size, forget, in_turn
from support.report import Record, Table
from support.rerankers import OURS, SHAPE, Ours, Question, counting_tokens, loaders, prompts
from support.shapes import checkpoint
from support.texts import WORKLOADS, TextMaker, Workload

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from support.clock import Timing
    from support.options import Compute
    from support.rerankers import Scorer

SIZES = [1, 4, 8, 16, 32, 50]
PACKAGES = ("qwen-embed-integrations", "torch", "transformers", "tokenizers", "sentence-transformers", "numpy")
NUMBERS = ("batch", "p50, ms", "ours is", "tokens computed", "logits differ by", "runs", "row, s")
_SEARCHED = 10  # documents on which the best batch size is found on a CPU; on a card all are
_EXACT = 8  # documents scored in float32 too


@dataclass(frozen=True)
class Row:
    """What was measured for a contender.

    Attributes:
        contender: Who reranked.
        batch: Its batch size; None where it chooses for itself.
        milliseconds: Of a rerank, median over the runs.
        runs: How many there were.
        ours: How many times as fast this package was in the same runs.
        tokens: Tokens the model computed.
        difference: Largest difference of a logit from this package's.
        row_seconds: What the row took to measure.
    """

    contender: str
    batch: int | None
    milliseconds: float
    runs: int
    ours: float
    tokens: int
    difference: float
    row_seconds: float

    def cells(self) -> list[str]:
        """Return what stands in the table."""
        return [
            self.contender,
            "" if self.batch is None else str(self.batch),
            f"{self.milliseconds:,.1f}",
            f"{self.ours:.2f}x",
            f"{self.tokens:,}",
            "" if self.contender == OURS else f"{self.difference:.1e}",
            str(self.runs),
            f"{self.row_seconds:.0f}",
        ]


class Job:
    """A scorer on a question; keeps what its last run returned and computed."""

    def __init__(self, scorer: Scorer, question: Question) -> None:
        self._scorer, self._question = scorer, question
        self.logits = np.empty(0)
        self.tokens = 0

    def contender(self, batch: int | None = None) -> Contender:
        """Return it for the clock."""
        return Contender(self._scorer.name, self._run, batch)

    def _run(self, batch: int | None) -> None:
        with counting_tokens() as counts:
            self.logits = self._scorer.logits(self._question, batch)
        self.tokens = sum(counts)


class Bench:
    """One question, and who is asked it."""

    def __init__(self, question: Question, given: argparse.Namespace, compute: Compute) -> None:
        self.question, self.given, self.compute = question, given, compute
        self._our_job: Job | None = None
        self._our_seconds = 0.0

    def our_row(self, ours: Ours) -> Row:
        """Measure this package."""
        budget = Budget(self.given.row_seconds)
        ours.logits(self.question.first(_SEARCHED), None)
        self._our_job = Job(ours, self.question)
        (timing,) = in_turn([self._our_job.contender()], self.given.rounds, budget)
        self._our_seconds = timing.seconds
        return self._row(timing, self._our_job, timing.seconds, budget)

    def peer_row(self, peer: Scorer) -> Row:
        """Measure a peer, on a CPU in turn with this package."""
        if self._our_job is None:
            raise RuntimeError("this package is measured first")
        budget = Budget(self.given.row_seconds)
        some = self.question if self.compute.on_card else self.question.first(_SEARCHED)
        sizes = [size for size in self.given.sizes if size <= len(some.documents)] or [len(some.documents)]
        peer.logits(some.first(sizes[0]), sizes[0])
        batch = best_batch_size(Job(peer, some).contender(), sizes, budget.half())
        job = Job(peer, self.question)
        contenders = [job.contender(batch)]
        if not self.compute.on_card:
            contenders.append(self._our_job.contender())
        timing, *our_timing = in_turn(contenders, self.given.rounds, budget)
        return self._row(timing, job, our_timing[0].seconds if our_timing else self._our_seconds, budget)

    def _row(self, timing: Timing, job: Job, our_seconds: float, budget: Budget) -> Row:
        return Row(
            contender=timing.name,
            batch=timing.batch,
            milliseconds=timing.seconds * 1000,
            runs=timing.runs,
            ours=timing.seconds / our_seconds,
            tokens=job.tokens,
            difference=float(np.abs(job.logits - self._our_job.logits).max()) if self._our_job else 0.0,
            row_seconds=budget.spent,
        )


def compare(bench: Bench, folder: Path, table: Table, record: Record) -> None:
    """Print and record the rows of all contenders."""

    def add(row: Row) -> None:
        record.add(row)
        table.row(*row.cells())

    ours = Ours(folder, bench.compute, bench.given.token_budget)
    add(bench.our_row(ours))
    if bench.compute.on_card:
        ours.close()
        forget()
    for load in loaders(folder, bench.compute):
        peer = load()
        add(bench.peer_row(peer))
        peer.close()
        del peer
        forget()
    ours.close()


def exact_differences(folder: Path, question: Question, device: torch.device) -> tuple[float, dict[str, float]]:
    """Return how far apart the logits of a few documents are in float32, and from the peers' at most."""
    few, compute = question.first(_EXACT), options.Compute(device, torch.float32)
    ours = Ours(folder, compute)
    logits = ours.logits(few, None)
    ours.close()
    del ours
    differences = {}
    for load in loaders(folder, compute):
        forget()  # one model in float32 at a time
        peer = load()
        differences[peer.name] = float(np.abs(peer.logits(few, 1) - logits).max())
        peer.close()
        del peer
    return float(np.ptp(logits)), differences


def tokens_of(folder: Path, question: Question) -> int:
    """Return the tokens of all prompts, each counted whole."""
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return sum(map(len, tokenizer(prompts(question), add_special_tokens=False, verbose=False)["input_ids"]))


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    made = options.parser_of(__doc__, row_seconds=90)
    options.add_model_options(made)
    add = made.add_argument
    add("--documents", type=options.at_least_one, default=50, help="documents to rerank")
    add("--tokens", type=options.at_least_one, default=150, help="of a document on average: from 2/3 to 4/3 of it")
    add("--sizes", type=options.batch_sizes, default=SIZES, metavar="N,N", help="batch sizes tried for the peer")
    add("--token-budget", type=options.at_least_one, help="of this package; its own default if not given")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare `Reranker.local` with `CrossEncoder`."""
    reader = parser()
    given = reader.parse_args(arguments)
    compute = options.set_up(reader, given)
    settings = {"device": given.device, "dtype": compute.dtype_name, "seed": given.seed, "shape": given.shape}
    record = Record(options.command_line(reader, arguments), PACKAGES, settings, given.output)
    with checkpoint(SHAPE.changed(given.shape), compute, seed=given.seed, parent=given.folder) as folder:
        maker = TextMaker(folder, "", given.seed)
        lengths = Workload("to rerank", "document", max(2, round(given.tokens * 2 / 3)), round(given.tokens * 4 / 3))
        question = Question(maker.make(WORKLOADS["queries"], 1).texts[0], maker.make(lengths, given.documents).texts)
        tokens = tokens_of(folder, question)
        record.note(
            SHAPE.name,
            documents=given.documents,
            lengths=[lengths.shortest, lengths.longest],
            tokens_of_all_prompts=tokens,
        )
        amount = f"{given.documents} documents of {lengths.shortest} to {lengths.longest} tokens"
        title = f"{SHAPE.name}, {amount}, {tokens:,} with the prompt around each"
        compare(Bench(question, given, compute), folder, Table(title, {"contender": 26}, NUMBERS), record)
        forget()
        spread, differences = exact_differences(folder, question, compute.device)
    listed = ", ".join(f"{difference:.1e} from {name}" for name, difference in differences.items())
    few = min(given.documents, _EXACT)
    print(f"In float32 the logits of {few} documents lie within {spread:.2f}, and differ by {listed} at most.")
    record.note(SHAPE.name, float32={"documents": few, "logits_within": spread, "largest_difference": differences})
    return 0


if __name__ == "__main__":
    sys.exit(main())
