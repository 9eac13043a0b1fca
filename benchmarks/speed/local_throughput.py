"""How many tokens a second `Embedder.local` gets through on a CPU, beside its peers and the machine's own ceiling.

    pip install -c constraints.txt -e '.[local,benchmark,demo]' --group peers
    python benchmarks/local_throughput.py

Checkpoints have the shapes of the real models and random weights (MiniLM is the real one). All contenders read the
same texts in the same precision, tokenizing included. A peer is measured at the batch size it is fastest with, found
in the same run; a peer less than half as fast as this package in that search is shown by it and not measured again.
Rounds go through all contenders in turn; figures are medians.

Tokens are those of the texts as the model reads them, with the prompt before each query. This package computes the
prompt of a causal model's queries once for many of them, which the ceiling's matmuls do not, so for those no share of
the ceiling is given. OpenVINO is measured as one stream and as two.
"""

from __future__ import annotations

import gc
import json
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from qwen_embed_integrations.benchmark.environment import hardware, versions
from support import peers
from support.ceiling import Ceiling, find_ceiling
from support.clock import Contender, interleaved, search, seconds, threads
from support.options import DTYPES, batch_sizes, chosen_from, lengths, set_up, sizes_of, wide_console
from support.shapes import SHAPES, Shape, write
from support.texts import WORKLOADS, TextMaker, Texts, Workload

if TYPE_CHECKING:
    import torch

SIZES = "1,4,8,32,64"
DEFAULT = 32  # sentence-transformers' own
PACKAGES = (
    "qwen-embed-integrations",
    "torch",
    "transformers",
    "tokenizers",
    "sentence-transformers",
    "openvino",
    "onnxruntime",
)
ALL_MODELS = ",".join(SHAPES)
ALL_WORKLOADS = ",".join(WORKLOADS)
ALL_PEERS = ",".join(peers.PEERS)
MODEL_NAMES = chosen_from(SHAPES)
WORKLOAD_NAMES = chosen_from(WORKLOADS)
PEER_NAMES = chosen_from({name: name for name in peers.PEERS})
_COMPARED = 16  # texts whose vectors are compared with float32's
_FEWEST = {"queries": 64, "documents": 4}
_FEW = 32


@dataclass(frozen=True)
class Figures:
    """What was measured for a contender.

    Attributes:
        name: The contender.
        batch: Its batch size; None where it chooses for itself.
        tokens_per_second: Median over the runs.
        runs: How many there were; 1 is the search for the best batch size.
        ours: How many times as fast this package was.
        ceiling: Share of the GEMM ceiling; None where computing a shared prompt once goes past it.
    """

    name: str
    batch: int | None
    tokens_per_second: float
    runs: int
    ours: float
    ceiling: float | None


@dataclass(frozen=True)
class Settings:
    """What holds for every model.

    Attributes:
        dtype: Number format of everything.
        seed: Of weights and texts.
        peers: Which are measured.
        token_budget: Of this package; None for its own default.
    """

    dtype: torch.dtype
    seed: int
    peers: list[str]
    token_budget: int | None


class Bench:
    """One model: its checkpoint, its ceiling, and everything that runs it."""

    def __init__(self, shape: Shape, parent: Path, settings: Settings) -> None:
        self.shape = shape
        self.folder = write(shape, parent, dtype=settings.dtype, seed=settings.seed)
        self.maker = TextMaker(self.folder, shape.query_prefix, settings.seed)
        self.ceiling: Ceiling = find_ceiling(self.folder, settings.dtype)
        self.ours = peers.Ours(self.folder, settings.dtype, token_budget=settings.token_budget)
        self.peers, self.missing = peers.load(self.folder, shape, settings.dtype, settings.peers)

    def close(self) -> None:
        """Free the memory."""
        for each in (self.ours, *self.peers):
            each.close()
        gc.collect()

    def texts(self, workload: Workload, length: float, count: int | None) -> Texts:
        """Make as many texts as take `length` seconds at the ceiling."""
        tokens = length * self.ceiling.tokens_per_second()
        fewest = _FEWEST.get(workload.name, _FEW)
        return self.maker.make(workload, count or max(fewest, round(tokens / workload.mean)))

    def compare(self, texts: Texts, sizes: list[int], rounds: int) -> list[Figures]:
        """Measure all contenders on the same texts."""
        ours = _contender(self.ours, texts)
        running, shown = [ours], []
        seconds(ours)
        least = seconds(ours)
        for peer in self.peers:
            contender = _contender(peer, texts)
            contender.run(sizes[0])
            found = search(contender, [size for size in sizes if size < 2 * len(texts.texts)], DEFAULT)
            best = found[0]
            # The rounds are for those that come near.
            if best.seconds > 2 * least:
                shown.append(best)
            else:
                running.append(replace(contender, batch=best.batch))
            shown += [each for each in found[1:] if each.batch == DEFAULT and peer is self.peers[0]]
        top = Contender("ceiling", lambda _: ceilings.append(self.ceiling.tokens_per_second()))
        ceilings: list[float] = []
        measured = interleaved([*running, top], rounds)[:-1]
        highest = sorted(ceilings)[len(ceilings) // 2]
        shared = self.shape.kind == "qwen3" and texts.role == "query" and bool(self.shape.query_prefix)
        return [
            Figures(
                each.name,
                each.batch,
                texts.tokens / each.seconds,
                each.runs,
                each.seconds / measured[0].seconds,
                None if shared else texts.tokens / each.seconds / highest,
            )
            for each in (*measured, *shown)
        ] + [
            Figures(
                "GEMM ceiling",
                None,
                highest,
                rounds,
                texts.tokens / highest / measured[0].seconds,
                None if shared else 1.0,
            )
        ]


def _contender(engine: peers.Engine, texts: Texts) -> Contender:
    return Contender(engine.name, lambda batch: engine.embed(texts, batch))


def fidelity(bench: Bench, workload: Workload) -> tuple[float, float]:
    """Return the least and the mean cosine of this package's vectors to float32's."""
    texts = bench.maker.make(workload, _COMPARED)
    reference = peers.reference(bench.folder, bench.shape)
    try:
        return peers.cosines(bench.ours.embed(texts, None), reference.embed(texts, 1))
    finally:
        reference.close()


def workloads_for(shape: Shape, chosen: list[Workload]) -> list[Workload]:
    """Return the workloads a model is given, long texts cut to what it reads."""
    readable = [each for each in chosen if each.shortest < shape.max_tokens]
    return [replace(each, longest=min(each.longest, shape.max_tokens)) for each in readable]


def table(title: str, figures: list[Figures]) -> Table:
    """Lay out one comparison."""
    made = Table(title=title, title_justify="left")
    for heading in ("contender", "batch", "tokens/s", "ours is", "of the ceiling", "runs"):
        made.add_column(heading, justify="left" if heading == "contender" else "right", no_wrap=True)
    for each in figures:
        made.add_row(
            each.name,
            "" if each.batch is None else str(each.batch),
            f"{each.tokens_per_second:,.0f}",
            f"{each.ours:.2f}x",
            "" if each.ceiling is None else f"{each.ceiling:.0%}",
            str(each.runs),
        )
    return made


def main(  # noqa: PLR0917 typer passes by name
    models: Annotated[
        Any, typer.Option(parser=MODEL_NAMES, metavar="NAME,NAME", help=f"Of {ALL_MODELS}.")
    ] = ALL_MODELS,
    workloads: Annotated[
        Any, typer.Option(parser=WORKLOAD_NAMES, metavar="NAME,NAME", help=f"Of {ALL_WORKLOADS}.")
    ] = ALL_WORKLOADS,
    length: Annotated[
        Any, typer.Option("--lengths", parser=lengths, metavar="N:N", help="Documents of so many tokens instead.")
    ] = None,
    shape: Annotated[
        Any, typer.Option(parser=sizes_of, metavar="JSON", help="Changes of the models' config.json; not of MiniLM's.")
    ] = "{}",
    texts: Annotated[int | None, typer.Option(min=1, help="Texts of each workload instead of --seconds.")] = None,
    at_ceiling: Annotated[
        float, typer.Option("--seconds", min=0.01, help="Texts of each workload: what takes so long at the ceiling.")
    ] = 4.0,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each contender that count.")] = 5,
    against: Annotated[
        Any,
        typer.Option("--peers", parser=PEER_NAMES, metavar="NAME,NAME", help=f"Of {ALL_PEERS}."),
    ] = ALL_PEERS,
    sizes: Annotated[
        Any, typer.Option(parser=batch_sizes, metavar="N,N", help="Batch sizes tried for the peers.")
    ] = SIZES,
    dtype: Annotated[str, typer.Option(help=f"Number format of everything: {', '.join(DTYPES)}.")] = "auto",
    token_budget: Annotated[
        int | None, typer.Option(min=1, help="Of this package; its own default if not given.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights and texts.")] = 0,
    output: Annotated[Path | None, typer.Option(help="Where to write the figures as JSON.")] = None,
) -> None:
    """Compare `Embedder.local` with its peers on this machine's CPU."""
    precision = set_up(dtype)
    named = str(precision).removeprefix("torch.")
    console = wide_console()
    result: dict[str, Any] = {
        "hardware": hardware(),
        "versions": versions(PACKAGES),
        "threads": threads(),
        "settings": {"dtype": named, "rounds": rounds, "seconds": at_ceiling, "seed": seed, "shape": shape},
        "models": {},
    }
    heads = ("hardware", "versions", "threads")
    console.print(*(f"{name} {value}" for head in heads for name, value in result[head].items()), sep=", ")
    for each in models:
        with tempfile.TemporaryDirectory() as parent:
            bench = Bench(each.changed(shape), Path(parent), Settings(precision, seed, against, token_budget))
            found: dict[str, Any] = {"ceiling": bench.ceiling.how, "did not run": bench.missing}
            result["models"][each.name] = found
            for name, reason in bench.missing.items():
                console.print(f"{each.name}: no {name}, {reason}")
            for workload in workloads_for(bench.shape, workloads if length is None else [length]):
                made = bench.texts(workload, at_ceiling, texts)
                figures = bench.compare(made, sizes, rounds)
                read = f"{workload.shortest}-{workload.longest} tokens"
                amount = f"n = {len(made.texts)}, {made.tokens:,} tokens"
                title = f"{each.name}, {named}, {workload.name} of {read} ({amount})"
                console.print(table(title, figures))
                found[workload.name] = {
                    "texts": len(made.texts),
                    "tokens": made.tokens,
                    "lengths": [workload.shortest, workload.longest],
                    "figures": [asdict(figure) for figure in figures],
                }
            for workload in workloads_for(bench.shape, [WORKLOADS["queries"], WORKLOADS["chunks"]]):
                least, mean = fidelity(bench, workload)
                found[workload.name + " cosine to float32"] = {"least": least, "mean": mean}
                console.print(f"{workload.name}: cosine to float32 {least:.6f} at least, {mean:.6f} on average")
            bench.close()
            del bench
    if output is not None:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
