"""How long 64 callers wait who each ask for one query's vector at the same time, and how long one who asks alone.

    pip install -c constraints.txt -e '.[langchain,llama-index,local,benchmark,demo]' --group peers
    python benchmarks/many_callers.py

All callers share one object: this package's local class of a framework, or LlamaIndex's `HuggingFaceEmbedding`. They
are threads that begin together, or coroutines of one event loop. A lone query is also computed without the object that
callers share, directly on the model: the difference is what sharing costs. Rounds go through all contenders in turn.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable  # noqa: TC003 a field's type
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.table import Table

from qwen_embed_integrations.benchmark.environment import hardware, versions
from support.clock import threads
from support.options import DTYPES, chosen_from, set_up, sizes_of, wide_console
from support.shapes import SHAPES, Shape, write
from support.texts import WORKLOADS, TextMaker

if TYPE_CHECKING:
    import torch

os.environ.setdefault("HF_HUB_OFFLINE", "1")

PACKAGES = (
    "qwen-embed-integrations",
    "torch",
    "transformers",
    "sentence-transformers",
    "langchain-core",
    "llama-index-core",
    "llama-index-embeddings-huggingface",
)
OURS = "LocalEmbeddings (LangChain)"
PEER = "HuggingFaceEmbedding (LlamaIndex)"
MODELS = {name: SHAPES[name] for name in ("minilm", "qwen3")}
ALL_MODELS = ",".join(MODELS)
MODEL_NAMES = chosen_from(MODELS)
_LONE = 10  # lone queries in a round


@dataclass(frozen=True)
class Shared:
    """An object that callers share.

    Attributes:
        name: Its class.
        embed: One query's vector, for a thread.
        aembed: The same, for a coroutine.
    """

    name: str
    embed: Callable[[str], list[float]]
    aembed: Callable[[str], Awaitable[list[float]]]


@dataclass(frozen=True)
class Figures:
    """What was measured for an object and a kind of callers.

    Attributes:
        name: The object.
        callers: `"threads"` or `"asyncio"`.
        seconds: Until all were served, median over the rounds.
        p50: Median wait of a caller in milliseconds, over all rounds.
        p95: The wait that 95 of 100 did not exceed, in milliseconds.
    """

    name: str
    callers: str
    seconds: float
    p50: float
    p95: float


def load(folder: Path, shape: Shape, dtype: torch.dtype) -> tuple[list[Shared], Callable[[str], Any]]:
    """Load this package's two classes and their peer, and the way around the first."""
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding  # noqa: PLC0415 after the hub is switched off

    from qwen_embed_integrations import langchain, llama_index  # noqa: PLC0415

    named: Any = str(dtype).removeprefix("torch.")
    chain = langchain.LocalEmbeddings(model=str(folder), device="cpu", dtype=named)
    index = llama_index.LocalEmbedding(str(folder), device="cpu", dtype=named)
    # Prompts are passed: it asks the hub's name for them.
    peer = HuggingFaceEmbedding(
        str(folder), device="cpu", query_instruction=shape.query_prefix, model_kwargs={"dtype": dtype}
    )
    contenders = [
        Shared(OURS, chain.embed_query, chain.aembed_query),
        Shared("LocalEmbedding (LlamaIndex)", index.get_query_embedding, index.aget_query_embedding),
        Shared(PEER, peer.get_query_embedding, peer.aget_query_embedding),
    ]
    return contenders, directly(chain.embedder)


def by_threads(shared: Shared, queries: list[str]) -> tuple[float, list[float]]:
    """Ask from a thread for each query; return the seconds until all ended, and of each."""
    waits = [0.0] * len(queries)
    gate = threading.Barrier(len(queries) + 1)

    def ask(at: int) -> None:
        gate.wait()
        began = time.perf_counter()
        shared.embed(queries[at])
        waits[at] = time.perf_counter() - began

    asking = [threading.Thread(target=ask, args=(at,)) for at in range(len(queries))]
    for thread in asking:
        thread.start()
    gate.wait()
    began = time.perf_counter()
    for thread in asking:
        thread.join()
    return time.perf_counter() - began, waits


def by_asyncio(shared: Shared, queries: list[str]) -> tuple[float, list[float]]:
    """Ask from a coroutine for each query; return the seconds until all ended, and of each."""

    async def ask(query: str, began: float) -> float:
        await shared.aembed(query)
        return time.perf_counter() - began

    async def ask_all() -> tuple[float, list[float]]:
        began = time.perf_counter()
        waits = await asyncio.gather(*(ask(query, began) for query in queries))
        return time.perf_counter() - began, list(waits)

    return asyncio.run(ask_all())


CALLERS = {"threads": by_threads, "asyncio": by_asyncio}


def together(contenders: list[Shared], queries: list[str], rounds: int) -> list[Figures]:
    """Measure callers that come together."""
    taken: dict[tuple[str, str], list[tuple[float, list[float]]]] = {}
    for at in range(rounds + 1):  # the first warms up
        for kind, call in CALLERS.items():
            for shared in contenders:
                measured = call(shared, queries)
                if at:
                    taken.setdefault((shared.name, kind), []).append(measured)
    found = []
    for (name, kind), measurements in taken.items():
        waits = np.concatenate([waits for _, waits in measurements]) * 1000
        p50, p95 = np.percentile(waits, [50, 95])
        found.append(Figures(name, kind, statistics.median(each for each, _ in measurements), float(p50), float(p95)))
    return found


def directly(embedder: Any) -> Callable[[str], Any]:
    """Return what computes a query's vector in the caller's own thread, on the model that callers share."""
    # There is no public way around the threads that serve all callers.
    engine = embedder._engine  # noqa: SLF001
    prefix = embedder.profile.prefix("query")

    def compute(query: str) -> Any:
        tokens = engine._tokenizer.encode([prefix + query])  # noqa: SLF001
        return engine._worker._compute(tokens.sequences)  # noqa: SLF001

    return compute


def alone(contenders: list[Shared], direct: Callable[[str], Any], queries: list[str], rounds: int) -> dict[str, float]:
    """Measure callers that come one after the other; return the median wait of each in milliseconds."""
    asked = {"the model, directly": direct} | {each.name: each.embed for each in contenders}
    taken: dict[str, list[float]] = {name: [] for name in asked}
    for at in range(rounds + 1):  # the first warms up
        for query in queries[:_LONE]:
            for name, ask in asked.items():
                began = time.perf_counter()
                ask(query)
                if at:
                    taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(times) * 1000 for name, times in taken.items()}


def table(title: str, figures: list[Figures], lone: dict[str, float]) -> Table:
    """Lay out one model's figures; ratios are to the peer."""
    peers = {each.callers: each for each in figures if each.name == PEER}
    made = Table(title=title, title_justify="left")
    for heading in ("object", "callers", "all done, s", "faster", "p50, ms", "p95, ms", "a lone query, ms"):
        made.add_column(heading, justify="left" if heading in {"object", "callers"} else "right", no_wrap=True)
    for each in figures:
        faster = peers[each.callers].seconds / each.seconds
        made.add_row(
            each.name,
            each.callers,
            f"{each.seconds:.3f}",
            f"{faster:.2f}x",
            f"{each.p50:.1f}",
            f"{each.p95:.1f}",
            f"{lone[each.name]:.2f}",
        )
    return made


def main(  # noqa: PLR0917 typer passes by name
    models: Annotated[
        Any, typer.Option(parser=MODEL_NAMES, metavar="NAME,NAME", help=f"Of {', '.join(MODELS)}.")
    ] = ALL_MODELS,
    callers: Annotated[int, typer.Option(min=1, help="Callers that come together.")] = 64,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds that count.")] = 5,
    shape: Annotated[
        Any, typer.Option(parser=sizes_of, metavar="JSON", help="Changes of the models' config.json; not of MiniLM's.")
    ] = "{}",
    dtype: Annotated[str, typer.Option(help=f"Number format of everything: {', '.join(DTYPES)}.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of weights and queries.")] = 0,
    output: Annotated[Path | None, typer.Option(help="Where to write the figures as JSON.")] = None,
) -> None:
    """Compare how this package's local classes and their peer serve many callers."""
    precision = set_up(dtype)
    result: dict[str, Any] = {
        "hardware": hardware(),
        "versions": versions(PACKAGES),
        "threads": threads(),
        "settings": {"dtype": str(precision).removeprefix("torch."), "callers": callers, "rounds": rounds},
        "models": {},
    }
    console = wide_console()
    console.print(*(f"{name} {value}" for about in [*result.values()][:3] for name, value in about.items()), sep=", ")
    for each in (model.changed(shape) for model in models):
        with tempfile.TemporaryDirectory() as parent:
            folder = write(each, Path(parent), dtype=precision, seed=seed)
            queries = TextMaker(folder, each.query_prefix, seed).make(WORKLOADS["queries"], max(callers, _LONE)).texts
            contenders, direct = load(folder, each, precision)
            figures = together(contenders, queries[:callers], rounds)
            lone = alone(contenders, direct, queries, rounds)
            console.print(table(f"{each.name}, {callers} callers, queries of 5-20 tokens", figures, lone))
            waits = lone[OURS] - lone["the model, directly"]
            console.print(f"A lone query waits {waits:.2f} ms more than for the model alone.")
            result["models"][each.name] = {"together": [asdict(figure) for figure in figures], "alone, ms": lone}
            del contenders, direct
            gc.collect()
    if output is not None:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
