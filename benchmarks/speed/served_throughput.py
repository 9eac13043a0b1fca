"""How many texts a second a client gets through, and for how much of its own CPU, when the server is not the limit.

    pip install -c constraints.txt -e '.[langchain,llama-index,benchmark]' --group peers
    python benchmarks/served_throughput.py

The server is `canned_server.py`, in a process of its own: replies made beforehand, 1024 dimensions, base64 or float,
sent at once or after a fixed wait. Each peer gets the request size it is fastest with, found in the same run, and is
shown at this package's request size too. Rounds go through all contenders in turn; figures are medians.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path  # noqa: TC003 typer reads it
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from langchain_openai import OpenAIEmbeddings
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from rich.console import Console
from rich.progress import track
from rich.table import Table

from qwen_embed_integrations import langchain, llama_index
from qwen_embed_integrations.benchmark.environment import hardware, versions
from support import canned_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Embed = Callable[[list[str]], Any]

MODEL = "Qwen/Qwen3-Embedding-0.6B"
OURS = 64  # texts in a request of this package's classes, by default
SIZES = "16,64,256,1024,2048"
PACKAGES = ("qwen-embed-integrations", "openai", "langchain-openai", "llama-index-embeddings-openai-like", "numpy")


@dataclass(frozen=True)
class Contender:
    """A client ready to embed.

    Attributes:
        name: Class and how it is set.
        size: Texts in a request.
        embed: Takes texts, returns vectors.
    """

    name: str
    size: int
    embed: Embed


@dataclass(frozen=True)
class Figures:
    """What was measured for a contender.

    Attributes:
        texts_per_second: Median over the rounds.
        cpu_seconds: CPU seconds of the client process for 1,000 texts, median over the rounds.
    """

    name: str
    size: int
    texts_per_second: float
    cpu_seconds: float


@contextmanager
def running_server(latency: float) -> Iterator[str]:
    """Start the canned server and give its base URL."""
    command = [sys.executable, canned_server.__file__, str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 our own script
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"  # type: ignore[union-attr] it is a pipe
        finally:
            process.kill()


def ours(url: str, encoding_format: str) -> list[Contender]:
    """Make this package's contenders, at their defaults."""
    settings: dict[str, Any] = {"base_url": url, "encoding_format": encoding_format}
    chain = langchain.ServedEmbeddings(model=MODEL, **settings)
    index = llama_index.ServedEmbedding(MODEL, **settings)
    return [
        Contender("Embedder, to numpy", OURS, chain.embedder.embed_documents),
        Contender("ServedEmbeddings (LangChain)", OURS, chain.embed_documents),
        Contender("ServedEmbedding (LlamaIndex)", OURS, index.get_text_embedding_batch),
    ]


def openai_embeddings(url: str, encoding_format: str, size: int) -> Contender:
    """Make langchain-openai's class; token ids off, which other servers would read as their own."""
    made = OpenAIEmbeddings(
        model=MODEL,
        base_url=url,
        api_key="none",
        check_embedding_ctx_length=False,
        chunk_size=size,
        model_kwargs=_asking_for(encoding_format),
    )
    return Contender("OpenAIEmbeddings (LangChain)", size, made.embed_documents)


def openai_like_embedding(url: str, encoding_format: str, size: int) -> Contender:
    """Make LlamaIndex's class."""
    made = OpenAILikeEmbedding(
        model_name=MODEL,
        api_base=url,
        api_key="none",
        embed_batch_size=size,
        additional_kwargs=_asking_for(encoding_format),
    )
    return Contender("OpenAILikeEmbedding (LlamaIndex)", size, made.get_text_embedding_batch)


def _asking_for(encoding_format: str) -> dict[str, str]:
    # Unasked, the openai SDK fetches base64 and decodes it; asked for base64, it hands on the string.
    return {} if encoding_format == "base64" else {"encoding_format": encoding_format}


def timed(contender: Contender, texts: list[str]) -> tuple[float, float]:
    """Return texts a second and CPU seconds for 1,000 texts of one call."""
    started, spent = time.perf_counter(), time.process_time()
    vectors = contender.embed(texts)
    took, used = time.perf_counter() - started, time.process_time() - spent
    first = canned_server.rows(contender.size)[0]
    if len(vectors) != len(texts) or not np.allclose(vectors[0], first, atol=1e-6):
        raise AssertionError(f"{contender.name} returned other vectors than the server sent")
    return len(texts) / took, 1000 * used / len(texts)


def request_sizes(listed: str) -> list[int]:
    """Read a list of request sizes.

    Raises:
        BadParameter: If it is none.
    """
    try:
        sizes = [int(size) for size in listed.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise typer.BadParameter(f"{listed!r} must be whole numbers above 0 with commas between them")
    return sizes


def fastest(make: Callable[[int], Contender], texts: list[str], sizes: Sequence[int]) -> Contender:
    """Return the contender at the request size it is fastest with."""
    candidates = [make(size) for size in sizes if size <= len(texts)] or [make(min(sizes))]
    for candidate in candidates:
        timed(candidate, texts)
    return max(candidates, key=lambda each: max(timed(each, texts)[0] for _ in range(2)))


def compare(latency: float, encoding_format: str, count: int, rounds: int, sizes: Sequence[int]) -> list[Figures]:
    """Measure all contenders against one server."""
    texts = [f"{canned_server.MARK.decode()} {at} " + "the quick brown fox jumps " * 20 for at in range(count)]
    with running_server(latency) as url:
        contenders = ours(url, encoding_format)
        for peer in (openai_embeddings, openai_like_embedding):

            def make(size: int, peer: Callable[[str, str, int], Contender] = peer) -> Contender:
                return peer(url, encoding_format, size)

            best = fastest(make, texts, sizes)
            contenders += [best] if best.size == OURS else [best, make(OURS)]
        for contender in contenders:
            timed(contender, texts)
        title = f"{encoding_format}, {latency * 1000:.0f} ms"
        taken = [
            [timed(contender, texts) for contender in contenders]
            for _ in track(range(rounds), title, console=Console(stderr=True))
        ]
    return [
        Figures(contender.name, contender.size, *(statistics.median(column) for column in zip(*column_of, strict=True)))
        for contender, column_of in zip(contenders, zip(*taken, strict=True), strict=True)
    ]


def table(title: str, figures: list[Figures]) -> Table:
    """Lay out one comparison; ratios are to OpenAIEmbeddings at its best."""
    peer = next(each for each in figures if each.name.startswith("OpenAIEmbeddings"))
    made = Table(title=title, title_justify="left")
    for heading in ("client", "texts a request", "texts/s", "ratio", "CPU s / 1,000 texts"):
        made.add_column(heading, justify="left" if heading == "client" else "right", no_wrap=True)
    for each in figures:
        ratio = each.texts_per_second / peer.texts_per_second
        made.add_row(
            each.name, str(each.size), f"{each.texts_per_second:,.0f}", f"{ratio:.2f}", f"{each.cpu_seconds:.3f}"
        )
    return made


def main(
    texts: Annotated[int, typer.Option(min=1, help="Texts in a call; an eighth of it for float replies.")] = 16384,
    rounds: Annotated[int, typer.Option(min=1, help="Calls of each contender that count.")] = 5,
    latency_ms: Annotated[float, typer.Option(min=0, help="Wait before each reply in the third comparison.")] = 30,
    sizes: Annotated[
        Any, typer.Option(parser=request_sizes, metavar="N,N", help="Request sizes tried for the peers.")
    ] = SIZES,
    output: Annotated[Path | None, typer.Option(help="Where to write the figures as JSON.")] = None,
) -> None:
    """Compare this package's served classes with their peers."""
    # Of float replies the peers read a few hundred texts a second.
    few = max(texts // 8, OURS)
    cases = {
        "base64 replies, at once": (0.0, "base64", texts),
        "float replies, at once": (0.0, "float", few),
        f"base64 replies, {latency_ms:g} ms a request": (latency_ms / 1000, "base64", texts),
    }
    found = {}
    console = Console()
    if not console.is_terminal:
        console.width = 120
    for title, (latency, encoding_format, count) in cases.items():
        found[title] = compare(latency, encoding_format, count, rounds, sizes)
        console.print(table(f"{title} (n = {count:,}, 1024 dimensions, {rounds} rounds)", found[title]))
    result: dict[str, Any] = {"hardware": hardware(), "versions": versions(PACKAGES)}
    console.print(*(f"{name} {value}" for about in result.values() for name, value in about.items()), sep=", ")
    if output is not None:
        result |= {
            "cases": {title: [asdict(each) for each in figures] for title, figures in found.items()},
        }
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
