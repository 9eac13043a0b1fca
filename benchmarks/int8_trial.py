"""What int8 products would gain and cost on this CPU, beside the precision this package chooses there.

    pip install -c constraints.txt -e '.[local,benchmark,demo]'
    python benchmarks/int8_trial.py --data stdlib-code --limit 500

Of all linear layers of MiniLM, weights are rounded to int8 with a scale an output, and what goes into them with a scale
a token, found as it comes: a scale for all of a pass would make a vector depend on its company. The product is torch's
own of int8 matrices (`torch._int_mm`, oneDNN's on a CPU). Reported are the cosine of the vectors to float32's, what
the ranking loses, and how long products and whole passes take. Without VNNI the rounded numbers are multiplied in
float32, which comes to the same but for sums above 2^24, and no time of int8 is reported. `--data` is a folder in
BEIR's layout, or `stdlib-code`, which is made of the Python at hand.

An option would be worth having from 1.4 times as fast as bfloat16 at a cosine of 0.99, if it costs no more than 0.005
nDCG@10.
"""

from __future__ import annotations

import copy
import json
from contextlib import nullcontext
from functools import partial
from itertools import product
from pathlib import Path  # noqa: TC003 typer reads it
from typing import TYPE_CHECKING, Annotated, Any
from unittest.mock import patch

import numpy as np
import torch
import typer
from options import set_up, wide_console
from rich.table import Table
from rounds import Contender, interleaved, threads
from torch import nn

from qwen_embed_integrations import Embedder
from qwen_embed_integrations.benchmark.datasets import load
from qwen_embed_integrations.benchmark.environment import hardware, versions
from qwen_embed_integrations.benchmark.metrics import MAIN_METRIC, evaluate
from qwen_embed_integrations.benchmark.models import default_model
from qwen_embed_integrations.benchmark.ranking import best
from qwen_embed_integrations.local import loading
from qwen_embed_integrations.local.forward.cpu_linear import PlainLinear, linear_layers_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_embed_integrations.local.forward.cpu_linear import Activation

PACKAGES = ("qwen-embed-integrations", "torch", "transformers")
VNNI = any(torch.cpu.get_capabilities().get(name) for name in ("avx512_vnni", "avx_vnni", "amx_int8"))
_LARGEST = 127
_DEPTH = 10
# Inputs and outputs of the products: MiniLM's, and those of mxbai-embed-large and Qwen3-Embedding-0.6B.
_PRODUCTS = ((384, 1536), (1024, 1024), (1024, 4096), (4096, 1024), (1024, 3072))
_ROWS = (16, 1024)


class Int8Linear(PlainLinear):
    """A linear layer in int8."""

    def __init__(self, layer: nn.Linear, then: Activation = "none") -> None:
        super().__init__(layer, then)
        weight = layer.weight.detach().float()
        self._scale = weight.abs().amax(1) / _LARGEST
        self._rounded = (weight / self._scale.unsqueeze(1)).round_().to(torch.int8).t()

    def _product(self, states: torch.Tensor) -> torch.Tensor:
        rows = states.reshape(-1, self.in_features)
        scale = rows.abs().amax(1, keepdim=True).float().clamp_(min=1e-12).div_(_LARGEST)
        rounded = torch.div(rows, scale).round_().to(torch.int8)
        if VNNI:
            sums = torch._int_mm(rounded, self._rounded).to(torch.float32)  # noqa: SLF001 it has no public name
        else:
            sums = rounded.float() @ self._rounded.float()
        out = sums.mul_(scale).mul_(self._scale).to(states.dtype)
        out = out if self.bias is None else out.add_(self.bias)
        return out.view(*states.shape[:-1], self.out_features)


def load_embedder(folder: Path, dtype: str, *, int8: bool = False) -> Embedder:
    """Load a model, with its linear layers in int8 or as this package has them."""
    with patch.object(loading, "linear_layers_for", lambda _: Int8Linear) if int8 else nullcontext():
        return Embedder.local(folder, device="cpu", dtype=dtype)


def ndcg(embedder: Embedder, documents: dict[str, str], queries: dict[str, str], relevance: dict[str, Any]) -> float:
    """Return the mean nDCG@10 of an exact search."""
    scores = embedder.embed_queries(list(queries.values())) @ embedder.embed_documents(list(documents.values())).T
    ids = list(documents)
    found = [best(ids, row, _DEPTH) for row in scores]
    return float(evaluate(found, [relevance[query] for query in queries])[MAIN_METRIC].mean())


def _run(function: Callable[[Any], Any], argument: Any, _batch: int | None) -> Any:
    return function(argument)


def measure(
    embedders: dict[str, Embedder], texts: list[str], dtype: torch.dtype, rounds: int, result: dict[str, Any]
) -> Table:
    """Time whole passes, and single products; rounding what comes into them is part of it."""
    own = str(dtype).removeprefix("torch.")
    pairs = {"MiniLM, all documents": [partial(_run, embedders[name].embed_documents, texts) for name in (own, "int8")]}
    for (inputs, outputs), rows in product(_PRODUCTS, _ROWS):
        layer = nn.Linear(inputs, outputs, dtype=dtype).requires_grad_(requires_grad=False)
        layers = (linear_layers_for(dtype)(copy.deepcopy(layer)), Int8Linear(layer))
        states = torch.randn(rows, inputs).to(dtype)
        pairs[f"{rows} x {inputs} x {outputs}"] = [partial(_run, each, states) for each in layers]
    table = Table(title=f"Milliseconds in {own} as this package has it, and in int8")
    for heading in ("", own, "int8", "int8 is"):
        table.add_column(heading, justify="right" if heading else "left")
    with torch.inference_mode():
        for name, runs in pairs.items():
            contenders = [Contender(name, run) for run in runs]
            interleaved(contenders, 1)
            first, second = (each.seconds * 1000 for each in interleaved(contenders, rounds))
            result["times"][name] = {f"{own}_ms": first, "int8_ms": second}
            table.add_row(name, f"{first:.2f}", f"{second:.2f}", f"{first / second:.2f}x")
    return table


def main(
    data: Annotated[str, typer.Option(help="A folder in BEIR's layout, or stdlib-code.")] = "stdlib-code",
    limit: Annotated[int | None, typer.Option(min=1, help="Queries, at most.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each that count.")] = 3,
    output: Annotated[Path | None, typer.Option(help="Where to write the figures as JSON.")] = None,
) -> None:
    """Try int8 products on this machine's CPU."""
    precision = set_up("auto")
    named = str(precision).removeprefix("torch.")
    dataset = load(data)
    dataset = dataset if limit is None else dataset.sample(limit)
    console = wide_console()
    result: dict[str, Any] = {
        "hardware": hardware(),
        "versions": versions(PACKAGES),
        "threads": threads(),
        "VNNI": VNNI,
        "dtype": named,
        "models": {},
        "times": {},
        "data": {"name": dataset.name, "documents": len(dataset.documents), "queries": len(dataset.queries)},
    }
    console.print(result["hardware"], result["versions"], f"VNNI: {VNNI}")
    folder = default_model()
    parts: Any = (dict(dataset.documents), dict(dataset.queries), dict(dataset.relevance))
    texts = list(parts[0].values())
    embedders = {name: load_embedder(folder, name) for name in sorted({"float32", named}, reverse=True)}
    embedders["int8"] = load_embedder(folder, named, int8=True)
    vectors = {name: each.embed_documents(texts) for name, each in embedders.items()}
    table = Table(title=f"MiniLM, {len(texts):,} documents and {len(parts[1]):,} queries of {dataset.name}")
    for heading in ("products", "cosine, least", "mean", MAIN_METRIC):
        table.add_column(heading, justify="left" if heading == "products" else "right")
    for name, embedder in embedders.items():
        cosine = np.einsum("nd,nd->n", vectors[name], vectors["float32"])
        found = {
            "cosine_least": float(cosine.min()),
            "cosine_mean": float(cosine.mean()),
            "ndcg": ndcg(embedder, *parts),
        }
        result["models"][name] = found
        table.add_row(name, *(f"{value:.4f}" for value in found.values()))
    console.print(table)
    if VNNI:
        console.print(measure(embedders, texts, precision, rounds, result))
    else:
        console.print("This CPU has no VNNI, so int8 is not timed.")
    for embedder in embedders.values():
        embedder.close()
    if output is not None:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
