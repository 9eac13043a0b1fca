"""How many tokens a second `Embedder.local` gets through, beside its peers and what the hardware multiplies.

    pip install -c constraints.txt -e '.[local,benchmark,demo]' --group peers
    python benchmarks/speed/local_throughput.py

or, on a bare machine with a card, torch 2.11, transformers 5.17, safetensors and numpy, from a clone:

    PYTHONPATH=src python benchmarks/speed/local_throughput.py --device cuda

Checkpoints have the shapes of the real models and random weights (MiniLM is the real one). All contenders read the
same texts in the same precision, tokenizing included. The first vectors are held against transformers' own code in
padded batches in float32. On a CPU a peer runs in turn with this package, since other work disturbs; on a card one
model is loaded at a time. A peer runs at the batch size it is fastest with, found on some of the texts. Figures are
medians; each row is printed, and written to the file of figures, as soon as it is measured.

Tokens are those of the texts as the model reads them, with the prompt before each query. The GEMM ceiling is what the
model's own matrices take, the matrix rate what one large square product takes (`support/ceiling.py`). This package
computes the prompt of a causal model's queries once for many of them, so for those no share is given.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import torch

from qwen_embed_integrations.errors import MissingExtraError, ModelLoadError
from support import options
from support.clock import forget
from support.embedders import PEERS, Ours, cosine_of_different, cosines, loaders
from support.kernels import counting_varlen
from support.report import Record, Table
from support.shapes import SHAPES, checkpoint
from support.texts import WORKLOADS
from support.throughput import Bench

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from support.throughput import Row

MODELS = {"cpu": ["mxbai", "qwen3", "jina", "minilm"], "cuda": ["qwen3", "qwen3-4b", "qwen3-8b"]}
SIZES = {"cpu": [1, 4, 8, 32, 64], "cuda": [8, 32, 128, 256]}
PACKAGES = (
    "qwen-embed-integrations",
    "torch",
    "transformers",
    "tokenizers",
    "sentence-transformers",
    "openvino",
    "onnxruntime",
    "numpy",
)
NUMBERS = ("batch", "texts", "tokens/s", "ours is", "of ceiling", "of matrix rate", "peak GiB", "runs", "row, s")
LEAST_COSINE = 0.9995


def measure(bench: Bench, record: Record) -> list[str]:
    """Measure all contenders with a model, and return what makes the figures worthless, if anything does."""
    model = bench.shape.name
    right, dtype = bench.right_vectors()
    forget()
    ours = Ours(bench.folder, bench.compute, token_budget=bench.given.token_budget)
    with counting_varlen() as calls:
        agreement = {name: cosines(ours.embed(texts, None), right[name]) for name, texts in bench.checked.items()}
    different = cosine_of_different(np.concatenate([*right.values()]))
    print(f"\n{model}, {bench.compute.dtype_name}, {bench.parameters / 1e9:.3f} billion parameters in matrices")
    ceiling = f"GEMM ceiling {bench.tokens_at_ceiling:,.0f} tokens/s ({bench.ceiling.how})"
    print(f"{ceiling}, matrix rate {bench.matrix_rate / 1e12:.2f} TFLOP/s")
    for name, cosine in agreement.items():
        least, mean = cosine["least"], cosine["mean"]
        print(f"{name}: cosine to transformers in {dtype} {least:.6f} at least, {mean:.6f} on average")
    print(f"different texts: cosine {different:.3f} on average")
    if calls:
        print(f"{len(calls)} calls of varlen_attn")
    record.note(
        model,
        parameters=bench.parameters,
        ceiling={"how": bench.ceiling.how, "tokens_per_second": bench.tokens_at_ceiling},
        matrix_rate=bench.matrix_rate,
        cosines=agreement,
        cosine_of_different_texts=different,
        reference=dtype,
        varlen_calls=len(calls),
    )
    compare(bench, ours, record)
    return [
        *(
            f"{model}: the mean cosine of {name} to transformers is {cosine['mean']:.6f}, below {LEAST_COSINE}"
            for name, cosine in agreement.items()
            if cosine["mean"] < LEAST_COSINE
        ),
        *([f"{model}: varlen_attn was not called"] if _expects_varlen(bench.compute) and not calls else []),
    ]


def _expects_varlen(compute: options.Compute) -> bool:
    return compute.on_card and compute.dtype != torch.float32


def compare(bench: Bench, ours: Ours, record: Record) -> None:
    """Print and record the rows of all contenders; closes `ours`."""
    table = Table(bench.shape.name, {"contender": 26, "workload": 9}, NUMBERS)

    def add(row: Row) -> None:
        record.add(row)
        table.row(*row.cells())

    for workload in bench.work:
        add(bench.our_row(ours, workload))
    if bench.compute.on_card:
        ours.close()
        forget()
    missing = {}
    for name, load in loaders(bench.folder, bench.shape, bench.compute, bench.given.peers).items():
        try:
            peer = load()
        except Exception as error:  # noqa: BLE001 exporters fail in many ways
            missing[name] = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            continue
        for workload in bench.work:
            try:
                add(bench.peer_row(peer, workload, None if bench.compute.on_card else ours))
            except (MemoryError, torch.OutOfMemoryError) as error:
                missing[f"{name}, {workload}"] = f"out of memory: {error}"[:200]
        peer.close()
        del peer
        forget()
    ours.close()
    for name, reason in missing.items():
        print(f"no {name}: {reason}")
    record.note(bench.shape.name, did_not_run=missing)


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    made = options.parser_of(__doc__)
    options.add_model_options(made)
    add = made.add_argument
    add("--models", type=options.names_of(SHAPES), metavar="NAME,NAME", help=f"of {','.join(SHAPES)}")
    add(
        "--workloads",
        type=options.names_of(WORKLOADS),
        default=[*WORKLOADS],
        metavar="NAME,NAME",
        help=f"of {','.join(WORKLOADS)}",
    )
    add("--lengths", type=options.lengths, metavar="N:N", help="documents of so many tokens instead")
    add("--seconds", type=options.above_zero, default=2.0, help="texts: what takes so long at the ceiling")
    add("--texts", type=options.at_least_one, help="texts of each workload, instead of --seconds")
    add("--peers", type=options.names_of(PEERS), default=[*PEERS], metavar="NAME,NAME", help=f"of {','.join(PEERS)}")
    add("--sizes", type=options.batch_sizes, metavar="N,N", help="batch sizes tried for the peers")
    add("--token-budget", type=options.at_least_one, help="of this package; its own default if not given")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare `Embedder.local` with its peers; 1 if vectors were wrong or a model could not be measured."""
    reader = parser()
    given = reader.parse_args(arguments)
    compute = options.set_up(reader, given)
    given.models = given.models or MODELS[given.device]
    given.sizes = given.sizes or SIZES[given.device]
    settings = {"device": given.device, "dtype": compute.dtype_name, "seed": given.seed, "shape": given.shape}
    record = Record(options.command_line(reader, arguments), PACKAGES, settings, given.output)
    problems = []
    for name in given.models:
        shape = SHAPES[name].changed(given.shape)
        try:
            with checkpoint(shape, compute, seed=given.seed, parent=given.folder) as folder:
                problems += measure(Bench(shape, folder, given, compute), record)
        except (torch.OutOfMemoryError, ModelLoadError, MissingExtraError) as error:
            problems.append(f"{shape.name} could not be measured: {error}")
        forget()
    for problem in problems:
        print(f"WRONG: {problem}")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
