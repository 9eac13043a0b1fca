"""What int8 products would gain and cost on this CPU, beside the precision this package chooses there.

    pip install -c constraints.txt -e '.[local,benchmark,demo]'
    python benchmarks/int8_trial.py --data stdlib-code --limit 500

Of all linear layers of MiniLM, weights are rounded to int8 with a scale an output, and what goes into them with a scale
a token, found as it comes: a scale for all of a pass would make a vector depend on its company. The product is torch's
own of int8 matrices (`torch._int_mm`, oneDNN's on a CPU). Reported are the cosine of the vectors to float32's, what
the ranking loses, and how long products and whole passes take. `--data` is a folder in BEIR's layout, or `stdlib-code`,
which is made of the Python at hand.

An option would be worth having from 1.4 times as fast as bfloat16 at a cosine of 0.99, if it costs no more than 0.005
nDCG@10.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from functools import partial
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
from qwen_embed_integrations.local.products import PlainLinear, fastest

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_embed_integrations.local.products import Activation

PACKAGES = ("qwen-embed-integrations", "torch", "transformers")
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
        product = torch._int_mm(rounded, self._rounded).to(torch.float32)  # noqa: SLF001 it has no public name
        out = product.mul_(scale).mul_(self._scale).to(states.dtype)
        out = out if self.bias is None else out.add_(self.bias)
        return out.view(*states.shape[:-1], self.out_features)


def load_embedder(folder: Path, dtype: str, *, int8: bool = False) -> Embedder:
    """Load a model, with its linear layers in int8 or as this package has them."""
    with patch.object(loading, "fastest", lambda _: Int8Linear) if int8 else nullcontext():
        return Embedder.local(folder, device="cpu", dtype=dtype)


def ndcg(embedder: Embedder, documents: dict[str, str], queries: dict[str, str], relevance: dict[str, Any]) -> float:
    """Return the mean nDCG@10 of an exact search."""
    scores = embedder.embed_queries(list(queries.values())) @ embedder.embed_documents(list(documents.values())).T
    ids = list(documents)
    found = [best(ids, row, _DEPTH) for row in scores]
    return float(evaluate(found, [relevance[query] for query in queries])[MAIN_METRIC].mean())


def _run(function: Callable[[Any], Any], argument: Any, _batch: int | None) -> Any:
    return function(argument)


def product_times(dtype: torch.dtype, rounds: int) -> list[dict[str, Any]]:
    """Time single products in int8 and as this package has them; rounding what comes in is part of it."""
    found = []
    for inputs, outputs in _PRODUCTS:
        layer = nn.Linear(inputs, outputs, dtype=dtype).requires_grad_(requires_grad=False)
        int8, own = Int8Linear(layer), fastest(dtype)(layer)
        for rows in _ROWS:
            states = torch.randn(rows, inputs).to(dtype)
            pair = [Contender(name, partial(_run, each, states)) for name, each in (("own", own), ("int8", int8))]
            interleaved(pair, 2)
            times = [each.seconds for each in interleaved(pair, 5 * rounds)]
            found.append(
                {
                    "inputs": inputs,
                    "outputs": outputs,
                    "rows": rows,
                    "own_ms": times[0] * 1e3,
                    "int8_ms": times[1] * 1e3,
                }
            )
    return found


def main(
    data: Annotated[str, typer.Option(help="A folder in BEIR's layout, or stdlib-code.")] = "stdlib-code",
    limit: Annotated[int | None, typer.Option(min=1, help="Queries, at most.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each that count.")] = 3,
    output: Annotated[Path | None, typer.Option(help="Where to write the figures as JSON.")] = None,
) -> None:
    """Try int8 products on this machine's CPU."""
    precision = set_up("auto")
    named, capabilities = str(precision).removeprefix("torch."), torch.cpu.get_capabilities()
    vnni = any(bool(capabilities.get(name)) for name in ("avx512_vnni", "avx_vnni", "amx_int8"))
    dataset = load(data)
    dataset = dataset if limit is None else dataset.sample(limit)
    console = wide_console()
    result: dict[str, Any] = {
        "hardware": hardware(),
        "versions": versions(PACKAGES),
        "threads": threads(),
        "VNNI": vnni,
        "dtype": named,
        "data": {"name": dataset.name, "documents": len(dataset.documents), "queries": len(dataset.queries)},
    }
    console.print(result["hardware"], result["versions"], f"VNNI: {vnni}")
    folder = default_model()
    parts: Any = (dict(dataset.documents), dict(dataset.queries), dict(dataset.relevance))
    texts = list(parts[0].values())
    embedders = {name: load_embedder(folder, name) for name in sorted({"float32", named}, reverse=True)}
    embedders["int8"] = load_embedder(folder, named, int8=True)
    vectors = {name: each.embed_documents(texts) for name, each in embedders.items()}
    contenders = [Contender(name, partial(_run, each.embed_documents, texts)) for name, each in embedders.items()]
    times = {each.name: each.seconds for each in interleaved(contenders, rounds)}
    table = Table(title=f"MiniLM, {len(texts):,} documents and {len(parts[1]):,} queries of {dataset.name}")
    for heading in ("products", "cosine, least", "mean", MAIN_METRIC, "seconds", "int8 is"):
        table.add_column(heading, justify="left" if heading == "products" else "right")
    result["models"] = {}
    for name, embedder in embedders.items():
        cosine = np.einsum("nd,nd->n", vectors[name], vectors["float32"])
        figures = {
            "cosine_least": float(cosine.min()),
            "cosine_mean": float(cosine.mean()),
            "ndcg": ndcg(embedder, *parts),
            "seconds": times[name],
        }
        result["models"][name] = figures
        table.add_row(
            name,
            *(f"{figures[key]:.4f}" for key in ("cosine_least", "cosine_mean", "ndcg")),
            f"{times[name]:.2f}",
            f"{times[name] / times['int8']:.2f}x",
        )
    console.print(table)
    for embedder in embedders.values():
        embedder.close()
    with torch.inference_mode():
        result["products"] = product_times(precision, rounds)
    table = Table(title=f"One product, {named} as this package has it and int8")
    for heading in ("inputs", "outputs", "rows", f"{named}, ms", "int8, ms", "int8 is"):
        table.add_column(heading, justify="right")
    for each in result["products"]:
        own, int8 = each["own_ms"], each["int8_ms"]
        sizes = (str(each[name]) for name in ("inputs", "outputs", "rows"))
        table.add_row(*sizes, f"{own:.2f}", f"{int8:.2f}", f"{own / int8:.2f}x")
    console.print(table)
    if not vnni:
        console.print("Without VNNI the times say nothing of CPUs that have it; cosine and ranking are the same there.")
    if output is not None:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
