"""Two ceilings: the time of a model's own weight matmuls, and of one large square matmul on the same hardware.

The first is the GEMM ceiling: a model's weight matmuls alone, at the fastest way to do them. Weights that read the same
input (query, key and value; gate and up) are one matmul. Some layers stand for all: of the larger models their weights
are more than a CPU's caches hold, of MiniLM not, whose ceiling may so be too high. Attention, norms and activations are
left out, so no engine that computes every token can reach it; one that computes a beginning that texts share once can.

The second, the matrix rate, tells how much of the hardware's speed the shapes of the model's matrices leave.
"""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from torch.nn import functional

from support.clock import timed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.options import Compute

    Run = Callable[[], None]

_LAYER = re.compile(r"(?:^|\.)(?:layers?|h|block)\.(\d+)\.(.+)\.weight$")
# Weights that read the same input.
_SHARED = (("q_proj", "k_proj", "v_proj"), ("query", "key", "value"), ("gate_proj", "up_proj"))
_CPU_TOKENS, _CARD_TOKENS = (512, 2048), (8192, 32768)
_CPU_SQUARE, _CARD_SQUARE = 2048, 8192
_MOST_THREADS = 8  # as many passes as this package computes side by side
_LAYERS = 4
_REPEATS = 2


@dataclass(frozen=True)
class Ceiling:
    """The fastest way to do a model's weight matmuls.

    Attributes:
        how: Which matmul, and of how many tokens.
        run: Does the matmuls of some layers once.
        tokens: Tokens of a run, scaled to all layers.
        side_by_side: In how many threads it runs at once, each with its share of the cores.
    """

    how: str
    run: Run
    tokens: float
    side_by_side: int = 1

    def tokens_per_second(self) -> float:
        """Measure it once more."""
        if self.side_by_side == 1:
            return self.tokens / _fastest(self.run)
        with _threads(self.side_by_side) as pool:

            def run_all() -> None:
                for future in [pool.submit(self.run) for _ in range(self.side_by_side)]:
                    future.result()

            return self.side_by_side * self.tokens / _fastest(run_all)


def find_ceiling(folder: Path, compute: Compute) -> Ceiling:
    """Find the fastest way to do a checkpoint's weight matmuls.

    Args:
        folder: The checkpoint; its names tell the layers.
        compute: Where and in which precision to multiply.
    """
    all_layers = _layer_shapes(folder)
    layers = all_layers[:_LAYERS]
    place: Any = {"device": compute.device, "dtype": compute.dtype}
    weights = [torch.randn(shape, **place) * 0.02 for layer in layers for shape in layer]
    threads = 1 if compute.on_card else min(torch.get_num_threads(), _MOST_THREADS)
    ways = []
    for tokens in _CARD_TOKENS if compute.on_card else _CPU_TOKENS:
        inputs = {weight.shape[1]: torch.randn(tokens, weight.shape[1], **place) for weight in weights}
        scaled = tokens * len(layers) / len(all_layers)
        runs = {"torch": _plain(weights, inputs)}
        if not compute.on_card and (prepacked := _prepacked(weights, inputs, tokens)):
            runs["oneDNN prepacked"] = prepacked
        for how, run in runs.items():
            ways.append(Ceiling(f"{how}, {tokens} tokens", run, scaled))
            if threads > 1:
                ways.append(Ceiling(f"{how}, {threads} times {tokens} tokens", run, scaled, threads))
    return max(ways, key=Ceiling.tokens_per_second)


def parameters(folder: Path) -> int:
    """Count the parameters that every token is multiplied with: all but embedding tables, norms and biases."""
    return sum(outputs * inputs for layer in _layer_shapes(folder) for outputs, inputs in layer)


def matrix_rate(compute: Compute) -> float:
    """Return the floating-point operations a second of a large square matmul, on random numbers: zeros run faster."""
    size = _CARD_SQUARE if compute.on_card else _CPU_SQUARE
    left, right = torch.randn(2, size, size, device=compute.device, dtype=compute.dtype)

    def run() -> None:
        for _ in range(5):
            functional.linear(left, right)

    return 5 * 2 * size**3 / _fastest(run)


def _layer_shapes(folder: Path) -> list[list[tuple[int, int]]]:
    matrices: dict[int, dict[str, tuple[int, int]]] = defaultdict(dict)
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 it is no dict
                shape = tensors.get_slice(name).get_shape()
                if (match := _LAYER.search(name)) and len(shape) == 2:  # noqa: PLR2004 a matrix
                    matrices[int(match[1])][match[2]] = tuple(shape)
    return [_fused(matrices[number]) for number in sorted(matrices)]


def _fused(matrices: dict[str, tuple[int, int]]) -> list[tuple[int, int]]:
    shapes, alone = [], dict(matrices)
    for group in _SHARED:
        members = [name for name in alone if name.rpartition(".")[2] in group]
        if members:
            shapes.append((sum(alone[name][0] for name in members), alone[members[0]][1]))
            for name in members:
                del alone[name]
    return [*shapes, *alone.values()]


def _fastest(run: Run) -> float:
    run()
    return min(timed(run)[0] for _ in range(_REPEATS))


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Give threads that have their share of the cores each; afterwards torch has all cores again."""
    cores = torch.get_num_threads()
    all_started = threading.Barrier(count)

    def start(index: int) -> None:
        torch.get_num_threads()  # the first call in a thread sets its number: asked later, it would replace the share
        all_started.wait()
        torch.set_num_threads((cores + index) // count)

    with ThreadPoolExecutor(count) as pool:
        for future in [pool.submit(start, index) for index in range(count)]:
            future.result()
        torch.set_num_threads(cores)
        yield pool


@torch.inference_mode()
def _multiply(weights: list[torch.Tensor], inputs: dict[int, torch.Tensor]) -> None:
    for weight in weights:
        functional.linear(inputs[weight.shape[1]], weight)


def _plain(weights: list[torch.Tensor], inputs: dict[int, torch.Tensor]) -> Run:
    return lambda: _multiply(weights, inputs)


def _prepacked(weights: list[torch.Tensor], inputs: dict[int, torch.Tensor], tokens: int) -> Run | None:
    if not torch.backends.mkldnn.is_available():
        return None
    # What torch's own compiler lays weights out with; no public name.
    mkldnn: Any = torch.ops.mkldnn
    try:
        packed = [(mkldnn._reorder_linear_weight(weight, tokens), weight.shape[1]) for weight in weights]  # noqa: SLF001 no public name
        mkldnn._linear_pointwise(inputs[packed[0][1]], packed[0][0], None, "none", [], "")  # noqa: SLF001 no public name
    except (RuntimeError, AttributeError):
        return None

    @torch.inference_mode()
    def run() -> None:
        for weight, size in packed:
            mkldnn._linear_pointwise(inputs[size], weight, None, "none", [], "")  # noqa: SLF001 no public name

    return run
