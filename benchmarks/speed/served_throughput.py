"""How many texts a second a client gets through, and for how much of its own CPU, when the server is not the limit.

    pip install -c constraints.txt -e '.[langchain,llama-index,local,benchmark]' --group peers
    python benchmarks/speed/served_throughput.py

The server is `support/canned_server.py`, in a process of its own: replies made beforehand, 1024 dimensions, base64 or
float, sent at once or after a fixed wait. Each peer runs at the request size it is fastest with, found in the same run,
and at this package's too. Every client runs in turn with `Embedder`; figures are medians.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from langchain_openai import OpenAIEmbeddings
from llama_index.embeddings.openai_like import OpenAILikeEmbedding

from qwen_embed_integrations import langchain, llama_index
from support import canned_server, options
from support.clock import Budget, Contender, best_batch_size, in_turn
from support.report import Record, Table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from support.clock import Timing

    Embed = Callable[[list[str]], Any]

MODEL = "Qwen/Qwen3-Embedding-0.6B"
OURS = 64  # texts in a request of this package's classes, by default
SIZES = [64, 256, 1024, 2048]
PACKAGES = ("qwen-embed-integrations", "openai", "langchain-openai", "llama-index-embeddings-openai-like", "numpy")
NUMBERS = ("texts a request", "texts/s", "ours is", "CPU s / 1,000", "runs", "row, s")


@dataclass(frozen=True)
class Case:
    """How the server replies.

    Attributes:
        title: In words.
        encoding_format: `"base64"` or `"float"`.
        latency: Seconds before each reply.
        texts: How many texts are embedded.
    """

    title: str
    encoding_format: str
    latency: float
    texts: int


@dataclass(frozen=True)
class Row:
    """What was measured for a client.

    Attributes:
        case: How the server replied.
        contender: The client.
        size: Texts in a request.
        texts: Texts in a call.
        texts_per_second: Median over the runs.
        cpu_seconds: CPU seconds of the client process for 1,000 texts, median over the runs.
        runs: How many there were.
        ours: How many times as fast `Embedder` was in the same runs.
        row_seconds: What the row took to measure.
    """

    case: str
    contender: str
    size: int
    texts: int
    texts_per_second: float
    cpu_seconds: float
    runs: int
    ours: float
    row_seconds: float

    def cells(self) -> list[str]:
        """Return what stands in the table."""
        return [
            self.contender,
            str(self.size),
            f"{self.texts_per_second:,.0f}",
            f"{self.ours:.2f}x",
            f"{self.cpu_seconds:.3f}",
            str(self.runs),
            f"{self.row_seconds:.0f}",
        ]


@contextmanager
def running_server(latency: float) -> Iterator[str]:
    """Start the canned server and give its base URL."""
    command = [sys.executable, canned_server.__file__, str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 our own script
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"  # type: ignore[union-attr] it is a pipe
        finally:
            process.kill()


def ours(url: str, encoding_format: str) -> dict[str, Embed]:
    """Make this package's clients, at their defaults; `Embedder` first."""
    settings: dict[str, Any] = {"base_url": url, "encoding_format": encoding_format}
    chain = langchain.ServedEmbeddings(model=MODEL, **settings)
    index = llama_index.ServedEmbedding(MODEL, **settings)
    return {
        "Embedder, to numpy": chain.embedder.embed_documents,
        "ServedEmbeddings (LangChain)": chain.embed_documents,
        "ServedEmbedding (LlamaIndex)": index.get_text_embedding_batch,
    }


def openai_embeddings(url: str, encoding_format: str, size: int) -> Embed:
    """Make langchain-openai's class; token ids off, which other servers would read as their own."""
    client = OpenAIEmbeddings(
        model=MODEL,
        base_url=url,
        api_key="none",
        check_embedding_ctx_length=False,
        chunk_size=size,
        model_kwargs=_encoding(encoding_format),
    )
    return client.embed_documents


def openai_like_embedding(url: str, encoding_format: str, size: int) -> Embed:
    """Make LlamaIndex's class."""
    client = OpenAILikeEmbedding(
        model_name=MODEL,
        api_base=url,
        api_key="none",
        embed_batch_size=size,
        additional_kwargs=_encoding(encoding_format),
    )
    return client.get_text_embedding_batch


PEERS = {
    "OpenAIEmbeddings (LangChain)": openai_embeddings,
    "OpenAILikeEmbedding (LlamaIndex)": openai_like_embedding,
}


def _encoding(encoding_format: str) -> dict[str, str]:
    # By default the openai SDK fetches base64 and decodes it; asked for base64, it hands on the string.
    return {} if encoding_format == "base64" else {"encoding_format": encoding_format}


class Bench:
    """One case, with its server running."""

    def __init__(self, case: Case, url: str, given: argparse.Namespace) -> None:
        self.case, self.url, self.given = case, url, given
        mark = canned_server.MARK.decode()
        self.texts = [f"{mark} {number} " + "the quick brown fox jumps " * 20 for number in range(case.texts)]
        self.first_name, self.first_embed = next(iter(ours(url, case.encoding_format).items()))

    def rows(self) -> Iterator[Row]:
        """Measure all clients."""
        for name, embed in ours(self.url, self.case.encoding_format).items():
            yield self._row(Contender(name, self._run(name, {OURS: embed}), OURS), Budget(self.given.row_seconds))
        ours_too = min(OURS, len(self.texts))
        for name, make in PEERS.items():
            budget = Budget(self.given.row_seconds)
            sizes = [size for size in self.given.sizes if size <= len(self.texts)] or [ours_too]
            clients = {size: make(self.url, self.case.encoding_format, size) for size in {*sizes, ours_too}}
            for size, embed in clients.items():
                embed(self.texts[:size])
            run = self._run(name, clients)
            best = best_batch_size(Contender(name, run), sizes, budget.half())
            yield self._row(Contender(name, run, best), budget)
            if best != ours_too:
                yield self._row(Contender(name, run, ours_too), Budget(self.given.row_seconds))

    def _run(self, name: str, clients: dict[int, Embed]) -> Callable[[int | None], None]:
        def run(size: int | None) -> None:
            vectors = clients[size or OURS](self.texts)
            right = canned_server.rows(min(size or OURS, len(self.texts)))[0]
            if len(vectors) != len(self.texts) or not np.allclose(vectors[0], right, atol=1e-6):
                raise AssertionError(f"{name} returned other vectors than the server sent")

        return run

    def _row(self, contender: Contender, budget: Budget) -> Row:
        contender.run(contender.batch)
        contenders = [contender]
        if contender.name != self.first_name:
            contenders.append(Contender(self.first_name, self._run(self.first_name, {OURS: self.first_embed}), OURS))
        timing, *our_timing = in_turn(contenders, self.given.rounds, budget)
        return self._figures(timing, our_timing[0].seconds if our_timing else timing.seconds, budget)

    def _figures(self, timing: Timing, our_seconds: float, budget: Budget) -> Row:
        count = len(self.texts)
        return Row(
            case=self.case.title,
            contender=timing.name,
            size=timing.batch or OURS,
            texts=count,
            texts_per_second=count / timing.seconds,
            cpu_seconds=1000 * timing.cpu_seconds / count,
            runs=timing.runs,
            ours=timing.seconds / our_seconds,
            row_seconds=budget.spent,
        )


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    made = options.parser_of(__doc__, row_seconds=45)
    add = made.add_argument
    add("--texts", type=options.at_least_one, default=8192, help="texts in a call; an eighth of it for float replies")
    add("--latency-ms", type=options.not_negative, default=30, help="wait before each reply in the third comparison")
    add("--sizes", type=options.batch_sizes, default=SIZES, metavar="N,N", help="request sizes tried for the peers")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare this package's served classes with their peers."""
    reader = parser()
    given = reader.parse_args(arguments)
    record = Record(options.command_line(reader, arguments), PACKAGES, {"dimensions": 1024}, given.output)
    # Of float replies the peers read a few hundred texts a second.
    cases = [
        Case("base64 replies, at once", "base64", 0.0, given.texts),
        Case("float replies, at once", "float", 0.0, max(given.texts // 8, OURS)),
        Case(f"base64 replies, {given.latency_ms:g} ms a request", "base64", given.latency_ms / 1000, given.texts),
    ]
    for case in cases:
        table = Table(f"{case.title}, {case.texts:,} texts", {"client": 32}, NUMBERS)
        with running_server(case.latency) as url:
            for row in Bench(case, url, given).rows():
                record.add(row)
                table.row(*row.cells())
    return 0


if __name__ == "__main__":
    sys.exit(main())
