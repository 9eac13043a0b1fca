"""How long a query waits until 50 documents are reranked, beside sentence-transformers' `CrossEncoder`.

    pip install -c constraints.txt -e '.[local,benchmark,demo]' --group peers
    python benchmarks/rerank_latency.py

The checkpoint has the shape of Qwen3-Reranker-0.6B and random weights. The peer is run both ways it can be: on the
causal checkpoint with the prompt as a chat template, and on a conversion to a classifier, whose pairs carry the halves
of the prompt; each at its best batch size, found in the same run. All read the same prompts in the same precision,
tokenizing included. Rounds go through all contenders in turn; a way that is clearly slower than the other is shown by
the search and not measured again. The tokens are those that pass through the embedding table, padding included. The
logits are held against the peer's in that precision, and those of a few documents in float32 too.
"""

from __future__ import annotations

import gc
import json
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
import transformers
import typer
from rich.table import Table

from qwen_embed_integrations.benchmark.environment import hardware, versions
from support.clock import Contender, Timing, interleaved, search, seconds, threads
from support.options import DTYPES, batch_sizes, set_up, sizes_of, wide_console
from support.rerankers import NAME, OURS, Causal, Classifier, Ours, Question, profile
from support.shapes import SHAPES, write
from support.texts import WORKLOADS, TextMaker, Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES = "1,4,8,16,32,50"
PACKAGES = ("qwen-embed-integrations", "torch", "transformers", "tokenizers", "sentence-transformers")
SHAPE = replace(SHAPES["qwen3"], name=NAME, head="ForCausalLM")
_NEAR = 1.2  # times as slow as the faster way of the peer; beyond it the rounds are not worth their time
_EXACT = 8  # documents scored in float32 too


@dataclass(frozen=True)
class Figures:
    """What was measured for a contender.

    Attributes:
        name: The contender.
        batch: Its batch size; None where it chooses for itself.
        milliseconds: Median over the runs.
        runs: How many there were; 1 is the search for the best batch size.
        ours: How many times as fast this package was.
        tokens: Tokens the model computed.
        difference: Largest difference of a logit from this package's.
    """

    name: str
    batch: int | None
    milliseconds: float
    runs: int
    ours: float
    tokens: int
    difference: float


@contextmanager
def counted() -> Iterator[list[int]]:
    """Count the tokens that models look up meanwhile, pass by pass."""
    found: list[int] = []

    def count(module: torch.nn.Module, inputs: Any) -> None:
        if isinstance(module, torch.nn.Embedding):
            found.append(inputs[0].numel())

    hook = torch.nn.modules.module.register_module_forward_pre_hook(count)
    try:
        yield found
    finally:
        hook.remove()


def compare(ours: Ours, peers: list[Any], question: Question, sizes: list[int], rounds: int) -> list[Figures]:
    """Measure all on one question."""
    logits: dict[str, np.ndarray] = {}

    def contender(engine: Any, batch: int | None = None) -> Contender:
        def run(batch: int | None) -> None:
            logits[engine.name] = engine.logits(question, batch)

        return Contender(engine.name, run, batch)

    own = contender(ours)
    seconds(own)
    searched = []
    for peer in peers:
        seconds(contender(peer, sizes[0]))
        searched.append((peer, search(contender(peer), sizes)[0]))
    least = min(best.seconds for _, best in searched)
    near = [contender(peer, best.batch) for peer, best in searched if best.seconds <= _NEAR * least]
    timings = interleaved([own, *near], rounds)
    timings += [best for _, best in searched if best.seconds > _NEAR * least]
    tokens = {}
    # Once more, untimed: the logits are then those at the batch size that counts.
    for timing, engine in ((each, engine) for each in timings for engine in (ours, *peers) if engine.name == each.name):
        with counted() as passes:
            contender(engine).run(timing.batch)
        tokens[engine.name] = sum(passes)

    def figures(timing: Timing) -> Figures:
        difference = float(np.abs(logits[timing.name] - logits[OURS]).max())
        faster = timing.seconds / timings[0].seconds
        return Figures(
            timing.name, timing.batch, timing.seconds * 1000, timing.runs, faster, tokens[timing.name], difference
        )

    return [figures(each) for each in timings]


def exact_differences(folder: Path, question: Question) -> tuple[float, dict[str, float]]:
    """Return how far apart the logits of a few documents are in float32, and from the peers' at most."""
    few = replace(question, documents=question.documents[:_EXACT])
    ours = Ours(folder, torch.float32)
    own = ours.logits(few, None)
    ours.close()
    del ours
    found = {}
    for kind in (Causal, Classifier):
        gc.collect()  # one model in float32 at a time
        found[kind.name] = float(np.abs(kind(folder, torch.float32).logits(few, 1) - own).max())
    return float(np.ptp(own)), found


def whole_prompts(folder: Path, question: Question) -> int:
    """Return the tokens of all prompts, each counted whole."""
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    known = profile()
    prompts = [known.lead(question.query) + each + known.tail for each in question.documents]
    return sum(map(len, tokenizer(prompts, add_special_tokens=False, verbose=False)["input_ids"]))


def table(title: str, figures: list[Figures]) -> Table:
    """Lay out the comparison."""
    made = Table(title=title, title_justify="left")
    for heading in ("contender", "batch", "p50, ms", "ours is", "tokens computed", "logits differ by", "runs"):
        made.add_column(heading, justify="left" if heading == "contender" else "right", no_wrap=True)
    for each in figures:
        made.add_row(
            each.name,
            "" if each.batch is None else str(each.batch),
            f"{each.milliseconds:,.1f}",
            f"{each.ours:.2f}x",
            f"{each.tokens:,}",
            "" if each.name == OURS else f"{each.difference:.1e}",
            str(each.runs),
        )
    return made


def main(  # noqa: PLR0917 typer passes by name
    documents: Annotated[int, typer.Option(min=1, help="Documents to rerank.")] = 50,
    tokens: Annotated[int, typer.Option(min=4, help="Tokens of a document, on average; from 2/3 to 4/3 of it.")] = 150,
    shape: Annotated[
        Any, typer.Option(parser=sizes_of, metavar="JSON", help="Changes of the model's config.json.")
    ] = "{}",
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each contender that count.")] = 5,
    sizes: Annotated[
        Any, typer.Option(parser=batch_sizes, metavar="N,N", help="Batch sizes tried for the peer.")
    ] = SIZES,
    dtype: Annotated[str, typer.Option(help=f"Number format of everything: {', '.join(DTYPES)}.")] = "auto",
    token_budget: Annotated[
        int | None, typer.Option(min=1, help="Of this package; its own default if not given.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights and texts.")] = 0,
    output: Annotated[Path | None, typer.Option(help="Where to write the figures as JSON.")] = None,
) -> None:
    """Compare `Reranker.local` with `CrossEncoder` on this machine's CPU."""
    precision = set_up(dtype)
    named = str(precision).removeprefix("torch.")
    result: dict[str, Any] = {
        "hardware": hardware(),
        "versions": versions(PACKAGES),
        "threads": threads(),
        "settings": {"dtype": named, "rounds": rounds, "token budget": token_budget, "seed": seed, "shape": shape},
    }
    console = wide_console()
    heads = ("hardware", "versions", "threads")
    console.print(*(f"{name} {value}" for head in heads for name, value in result[head].items()), sep=", ")
    with tempfile.TemporaryDirectory() as parent:
        folder = write(SHAPE.changed(shape), Path(parent), dtype=precision, seed=seed)
        maker = TextMaker(folder, "", seed)
        lengths = Workload("to rerank", "document", max(2, round(tokens * 2 / 3)), round(tokens * 4 / 3))
        question = Question(maker.make(WORKLOADS["queries"], 1).texts[0], maker.make(lengths, documents).texts)
        whole = whole_prompts(folder, question)
        ours, peers = Ours(folder, precision, token_budget), [Causal(folder, precision), Classifier(folder, precision)]
        tried = [size for size in sizes if size <= documents] or [documents]
        figures = compare(ours, peers, question, tried, rounds)
        ours.close()
        del ours, peers
        gc.collect()
        title = f"{SHAPE.name}, {named}, {documents} documents of {lengths.shortest}-{lengths.longest} tokens"
        console.print(table(f"{title}, {whole:,} tokens with the prompt around each", figures))
        spread, exact = exact_differences(folder, question)
        said = ", ".join(f"{difference:.1e} from {name}" for name, difference in exact.items())
        few = min(documents, _EXACT)
        console.print(
            f"In float32 the logits of {few} documents lie within {spread:.2f}, and differ by {said} at most."
        )
    result |= {
        "documents": documents,
        "lengths": [lengths.shortest, lengths.longest],
        "tokens of all prompts": whole,
        "figures": [asdict(each) for each in figures],
        "float32": {"documents": few, "logits within": spread, "largest difference": exact},
    }
    if output is not None:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
