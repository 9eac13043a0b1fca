"""How near to a card's matrix rate a local Qwen3 embedder runs, beside sentence-transformers on the same card.

    PYTHONPATH=src python benchmarks/gpu.py --output benchmarks/results/gpu.json

Made for a bare machine: torch 2.11, transformers 5.17, safetensors and numpy are enough, and no hub is asked. So it
reads its options with argparse and prints its tables itself. Weights are random, of the real shapes, and go through a
folder on disk and the package's own loading; the tokenizer is made here, so that the tokens of each text are known.

First vectors are held against transformers' padded forward pass in float32, then speed is measured: whole calls, from
texts to numpy, in rounds of which the median counts. One model is on the card at a time. The peer is
sentence-transformers where it is installed, else a padded loop in its manner (longest first, SDPA, same precision);
either at its best batch size, found in the same run.

The share is what the model's matrices must compute for the tokens (2 operations for each parameter beside the embedding
table, attention not counted) of what one large matrix product computes on the card in the same time.

`--device cpu --shapes tiny` tries the script itself.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import statistics
import sys
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers

from gpu_checkpoints import (
    SHAPES,
    WORKLOADS,
    Shape,
    checkpoint,
    lengths_of,
    prompt_pieces,
    rerank_profile,
    texts_of,
    write_json,
    write_tokenizer,
)
from gpu_clock import GIB, counting_varlen, forget, latency, product_rate, seconds, throughput
from gpu_peers import PaddedLoop, PaddedReranker, best_batch_size, peer_class
from qwen_embed_integrations import Embedder, ModelProfile, Reranker, profile_for
from qwen_embed_integrations.errors import ModelLoadError

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH_SIZES = (8, 32, 128, 256)
TOGETHER = (1, 32)  # queries in a call whose latency is measured
RERANKED, RERANKED_TOKENS, RERANK_CALLS = 50, 150, 10
LEAST_COSINE = 0.9995
LEFT_ALIGNED = 2  # columns of a table
PACKAGES = ("qwen-embed-integrations", "torch", "transformers", "sentence-transformers", "numpy")


@dataclass(frozen=True)
class Task:
    """A checkpoint and what is measured with it.

    Attributes:
        folder: The checkpoint.
        shape: Its shape.
        options: The command line's.
        work: Texts and number of tokens of each workload.
        sample: Texts whose vectors are compared.
        reference: Their right vectors.
    """

    folder: Path
    shape: Shape
    options: argparse.Namespace
    work: dict[str, tuple[list[str], int]]
    sample: list[str]
    reference: np.ndarray

    @property
    def dtype(self) -> torch.dtype:
        """The precision in which all contenders compute."""
        chosen: torch.dtype = getattr(torch, self.options.dtype)
        return chosen


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure everything with one shape."""
    shape, device, dtype = SHAPES[name], options.device, getattr(torch, options.dtype)
    square = product_rate([(shape.square, shape.square)], shape.square, device, dtype)
    own = product_rate(shape.matrices(), shape.rows, device, dtype)
    forget()
    say(f"{name}: matmul {square / 1e12:.1f} TFLOP/s square, {own / 1e12:.1f} with the model's own matrices")
    asked, work = options.tokens or shape.tokens, {}
    for at, workload in enumerate(options.workloads):
        lengths = lengths_of(workload, asked // 8 if workload == "queries" else asked)
        work[workload] = (texts_of(lengths, at), sum(lengths))
    sample = texts_of([*lengths_of("queries", 100), *lengths_of("chunks", 3000), 2000, 1500], 99)
    with checkpoint(shape, device, options.folder) as folder:
        forget()
        reference, made_by = reference_vectors(folder, shape, device, sample)
        forget()
        task = Task(folder, shape, options, work, sample, reference)
        contenders = [ours(task)]
        forget()
        if options.peer != "none":
            contenders.append(peer(task))
            forget()
        for figures in (each for contender in contenders for each in contender["throughput"].values()):
            figures["share"] = 2 * shape.parameters() * figures["tokens_per_second"] / square
            figures["share_of_own"] = 2 * shape.parameters() * figures["tokens_per_second"] / own
        write_tokenizer(folder, ends=False)
        ranked = None if options.no_rerank else rerank(task)
        forget()
    return {
        "shape": asdict(shape) | {"parameters": shape.parameters()},
        "matmul_tflops": {"square": square / 1e12, "own_matrices": own / 1e12},
        "reference": made_by,
        # Near 1, all texts would have one vector, and agreement would prove nothing.
        "cosine_of_different_texts": float(
            np.tril(reference @ reference.T, -1).sum() / (len(sample) * (len(sample) - 1) / 2)
        ),
        "contenders": contenders,
        "rerank": ranked,
    }


def reference_vectors(folder: Path, shape: Shape, device: str, texts: list[str]) -> tuple[np.ndarray, str]:
    """Embed by transformers' own code, padded, eager, in float32, or in bfloat16 where float32 does not fit."""
    fits = device == "cpu" or torch.cuda.mem_get_info(device)[0] > 2.4 * shape.size()
    dtype = torch.float32 if fits else torch.bfloat16
    loop = PaddedLoop(folder, device, dtype, attention="eager")
    return loop.embed(texts, 4), f"{loop.name}, {str(dtype).removeprefix('torch.')}"


def cosines(found: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Return least and mean cosine of rows, which all have length 1."""
    each = (found.astype(np.float64) * reference.astype(np.float64)).sum(axis=1)
    return {"least": float(each.min()), "mean": float(each.mean())}


def ours(task: Task) -> dict[str, Any]:
    """Measure `Embedder.local`, at its defaults.

    Raises:
        AssertionError: If it computed another number of tokens than the texts have.
    """
    known = profile_for("Qwen/Qwen3-Embedding-0.6B")
    if not isinstance(known, ModelProfile):
        raise TypeError("Qwen3-Embedding's profile is no ModelProfile")
    profile = replace(known, dimensions=task.shape.hidden)
    started = time.perf_counter()
    with Embedder.local(task.folder, device=task.options.device, dtype=task.options.dtype, profile=profile) as embedder:
        made: dict[str, Any] = {"name": "Embedder.local", "load_s": time.perf_counter() - started}
        embed = embedder.embed_documents
        with counting_varlen() as calls:
            made["cosine"] = cosines(embed(task.sample), task.reference)
        made["varlen_calls"] = len(calls)
        say(f"cosine to the reference {made['cosine']}, {len(calls)} calls of varlen_attn")
        made["throughput"] = {}
        for workload, (texts, tokens) in task.work.items():
            before = embedder.usage.tokens
            embed(texts)
            if (computed := embedder.usage.tokens - before) != tokens:
                raise AssertionError(f"{computed} tokens were computed where the texts have {tokens}")
            made["throughput"][workload] = throughput(embed, texts, tokens, task.options.rounds)
            say(f"{workload}: {made['throughput'][workload]['tokens_per_second']:,.0f} tokens/s")
        made["latency"] = {str(together): latency(embed, together) for together in TOGETHER}
    return made


def peer(task: Task) -> dict[str, Any]:
    """Measure the peer, each workload at the batch size that is fastest on a quarter of it."""
    started = time.perf_counter()
    model = peer_class(task.options.peer)(task.folder, task.options.device, task.dtype)
    made: dict[str, Any] = {"name": model.name, "load_s": time.perf_counter() - started, "throughput": {}}
    made["cosine"] = cosines(model.embed(task.sample, 8), task.reference)
    for workload, (texts, tokens) in task.work.items():
        size = best_batch_size(partial(model.embed, texts[::4]), BATCH_SIZES)
        forget()
        figures = throughput(partial(model.embed, batch_size=size), texts, tokens, task.options.rounds)
        made["throughput"][workload] = figures | {"batch_size": size}
        say(f"{model.name}, {workload}: {figures['tokens_per_second']:,.0f} tokens/s at batch size {size}")
    embed = partial(model.embed, batch_size=max(TOGETHER))
    made["latency"] = {str(together): latency(embed, together) for together in TOGETHER}
    return made


def rerank(task: Task) -> dict[str, Any]:
    """Measure a rerank of 50 documents of 150 tokens, and the same prompts in padded batches."""
    query, *documents = texts_of([13, *[RERANKED_TOKENS + 1] * RERANKED], 8)
    scores, took = rerank_ours(task, query, documents)
    forget()
    made: dict[str, Any] = {"documents": RERANKED, "tokens_each": RERANKED_TOKENS, "ours_ms": took}
    say(f"rerank: {took:.1f} ms")
    if task.options.peer == "none":
        return made
    profile = rerank_profile()
    words = [str(profile.true_token), str(profile.false_token)]
    model = PaddedReranker(task.folder, task.options.device, task.dtype, words)
    prompts = [prompt_pieces(query, document) for document in documents]
    size = best_batch_size(partial(model.log_odds, prompts), (8, 32, RERANKED))
    log_odds = model.log_odds(prompts, size)
    run = partial(model.log_odds, prompts, size)
    return made | {
        "peer": model.name,
        "peer_batch_size": size,
        "peer_ms": 1000 * statistics.median(seconds(run) for _ in range(RERANK_CALLS)),
        "log_odds_spread": float(log_odds.std()),
        "log_odds_largest_difference": float(np.abs(np.log(scores / (1 - scores)) - log_odds).max()),
    }


def rerank_ours(task: Task, query: str, documents: list[str]) -> tuple[np.ndarray, float]:
    """Return `Reranker.local`'s scores in the documents' order, and the median time of a call in ms."""
    options = task.options
    with Reranker.local(task.folder, device=options.device, dtype=options.dtype, profile=rerank_profile()) as reranker:
        ranked = {each.index: each.score for each in reranker.rerank(query, documents)}
        took = [seconds(lambda: reranker.rerank(query, documents)) for _ in range(RERANK_CALLS)]
    return np.array([ranked[at] for at in range(len(documents))]), 1000 * statistics.median(took)


def say(line: str) -> None:
    """Tell how far it is."""
    print(line, file=sys.stderr, flush=True)


def print_table(*rows: Sequence[str]) -> None:
    """Print rows in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if at < LEFT_ALIGNED else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
    print()


def report(name: str, result: dict[str, Any]) -> None:
    """Print what was measured with a shape; ratios are ours to each contender's."""
    rates, contenders = result["matmul_tflops"], result["contenders"]
    print(
        f"\nShape of Qwen3-Embedding {name}, {result['shape']['parameters'] / 1e9:.2f} billion parameters in matrices"
    )
    print(f"matmul TFLOP/s: {rates['square']:.1f} square, {rates['own_matrices']:.1f} with the model's own matrices")
    print(f"cosine to: {result['reference']} (of different texts: {result['cosine_of_different_texts']:.3f})\n")
    rows = [("workload", "contender", "batch", "texts", "tokens/s", "share", "of own", "peak GiB", "ratio")]
    for workload in contenders[0]["throughput"]:
        for each in contenders:
            figures, speed = each["throughput"][workload], contenders[0]["throughput"][workload]["tokens_per_second"]
            rows.append(
                (
                    workload,
                    each["name"],
                    str(figures.get("batch_size", "packed")),
                    f"{figures['texts']:,}",
                    f"{figures['tokens_per_second']:,.0f}",
                    f"{figures['share']:.0%}",
                    f"{figures['share_of_own']:.0%}",
                    "-" if figures["peak_gib"] is None else f"{figures['peak_gib']:.1f}",
                    f"{speed / figures['tokens_per_second']:.2f}",
                )
            )
    print_table(*rows)
    waits = [f"{together} together: p50 ms, p95" for together in TOGETHER]
    print_table(
        ("contender", "varlen_attn", "cosine, mean", "least", "load s", *waits),
        *(
            (
                each["name"],
                str(each.get("varlen_calls", "-")),
                *(f"{each['cosine'][key]:.6f}" for key in ("mean", "least")),
                f"{each['load_s']:.1f}",
                *(f"{took['p50_ms']:.1f}, {took['p95_ms']:.1f}" for took in each["latency"].values()),
            )
            for each in contenders
        ),
    )
    if found := result["rerank"]:
        print(f"rerank of {found['documents']} documents of {found['tokens_each']} tokens: {found['ours_ms']:.1f} ms")
        if "peer" in found:
            print(f"  {found['peer']}, batch size {found['peer_batch_size']}: {found['peer_ms']:.1f} ms")
            spread, most = found["log_odds_spread"], found["log_odds_largest_difference"]
            print(f"  log-odds differ by {most:.4f} at most, where documents differ by {spread:.4f} (deviation)")


def wrong_with(result: dict[str, Any], options: argparse.Namespace) -> str | None:
    """Say what makes figures worthless: other vectors, or another way than the one meant."""
    first = result["contenders"][0]
    if first["cosine"]["mean"] < LEAST_COSINE:
        return f"the mean cosine to the reference is {first['cosine']['mean']:.6f}, below {LEAST_COSINE}"
    if options.device != "cpu" and options.dtype != "float32" and not first["varlen_calls"]:
        return "varlen_attn was not called"
    return None


def environment(device: str) -> dict[str, Any]:
    """Return the card, or the CPU's threads, and versions."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    about = {
        "system": f"{platform.system()} {platform.machine()}",
        "versions": found | {"python": platform.python_version()},
    }
    if device == "cpu":
        return about | {"device": "cpu", "threads": torch.get_num_threads()}
    card = torch.cuda.get_device_properties(device)
    return about | {"device": card.name, "memory_gib": round(card.total_memory / GIB, 1), "cuda": torch.version.cuda}


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["0.6B", "4B", "8B"])
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--device", default="cuda", help="cuda or cpu")
    parser.add_argument("--dtype", choices=("bfloat16", "float16", "float32"), default="bfloat16")
    parser.add_argument("--tokens", type=int, help="tokens in a round, instead of each shape's own number")
    parser.add_argument("--rounds", type=int, default=3, help="calls of each contender that count")
    parser.add_argument("--peer", choices=("auto", "sentence-transformers", "padded", "none"), default="auto")
    parser.add_argument("--no-rerank", action="store_true")
    parser.add_argument("--folder", type=Path, help="where checkpoints are made, 16 GB for 8B")
    parser.add_argument("--output", type=Path, help="where to write the figures as JSON")
    options = parser.parse_args()
    for option in ("tokens", "rounds"):
        if (number := getattr(options, option)) is not None and number < 1:
            parser.error(f"argument --{option}: {number} must be 1 or more")
    if options.device != "cpu" and not torch.cuda.is_available():
        parser.error(f"argument --device: {options.device} needs a CUDA GPU, and torch sees none; try --device cpu")
    return options


def main() -> int:
    """Measure the shapes one after another; figures are written after each."""
    options = arguments()
    progress: Any = transformers.utils.logging
    progress.disable_progress_bar()
    about = environment(options.device) | {"dtype": options.dtype, "rounds": options.rounds}
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    found: dict[str, Any] = {}
    wrong = False
    for name in options.shapes:
        try:
            found[name] = measure(name, options)
        except (torch.OutOfMemoryError, ModelLoadError) as error:
            problem: str | None = f"it could not be measured: {error}"
        else:
            report(name, found[name])
            problem = wrong_with(found[name], options)
        forget()
        if problem is not None:
            print(f"WRONG with {name}: {problem}")
            wrong = True
        if options.output is not None:
            write_json(options.output, about | {"shapes": found})
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
