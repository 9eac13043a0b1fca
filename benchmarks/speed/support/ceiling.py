"""The GEMM ceiling: the time of a model's weight matmuls alone, at the fastest way found to do them.

Weights that read the same input (query, key and value; gate and up) are one matmul. Some layers stand for all: of the
larger models their weights are more than the caches hold, of MiniLM not, whose ceiling may so be too high. Attention,
norms and activations are left out, so no engine that computes every token can reach it; one that computes a beginning
that texts share once can.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open

from qwen_embed_integrations.local.scheduler.cpu_lanes import Lanes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_LAYER = re.compile(r"(?:^|\.)(?:layers?|h|block)\.(\d+)\.(.+)\.weight$")
# Weights that read the same input.
_SHARED = (("q_proj", "k_proj", "v_proj"), ("query", "key", "value"), ("gate_proj", "up_proj"))
_TOKENS = (256, 512, 1024, 2048)
_LAYERS = 4
_REPEATS = 3


@dataclass(frozen=True)
class Ceiling:
    """The fastest way found.

    Attributes:
        how: Which matmul, and of how many tokens.
        run: Does the matmuls of `tokens` tokens once.
        tokens: Tokens of a run, scaled to all layers.
    """

    how: str
    run: Callable[[], None]
    tokens: float

    def tokens_per_second(self) -> float:
        """Measure it once more."""
        return self.tokens / _fastest(self.run)


def find_ceiling(folder: Path, dtype: torch.dtype) -> Ceiling:
    """Find the fastest way to do a checkpoint's weight matmuls.

    Args:
        folder: The checkpoint; its names tell the layers.
        dtype: Number format to multiply in.
    """
    layers, all_layers = _layer_shapes(folder)
    weights = [torch.randn(shape).to(dtype) * 0.02 for layer in layers for shape in layer]
    ways = []
    for tokens in _TOKENS:
        inputs = {shape[1]: torch.randn(tokens, shape[1]).to(dtype) for layer in layers for shape in layer}
        scaled = tokens * len(layers) / all_layers
        runs = {"torch": _plain(weights, inputs), "oneDNN prepacked": _prepacked(weights, inputs, tokens)}
        for how, run in runs.items():
            if run is not None:
                ways.append(Ceiling(f"{how}, {tokens} tokens", run, scaled))
                abreast, count = _side_by_side(run)
                ways.append(Ceiling(f"{how}, {count} times {tokens} tokens", abreast, count * scaled))
    return max(ways, key=Ceiling.tokens_per_second)


def _layer_shapes(folder: Path) -> tuple[list[list[tuple[int, int]]], int]:
    found: dict[int, dict[str, tuple[int, int]]] = defaultdict(dict)
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 it is no dict
                shape = tensors.get_slice(name).get_shape()
                if (match := _LAYER.search(name)) and len(shape) == 2:  # noqa: PLR2004 a matrix
                    found[int(match[1])][match[2].rpartition(".")[2] + f" {match[2]}"] = tuple(shape)
    return [_fused(found[at]) for at in sorted(found)[:_LAYERS]], len(found)


def _fused(matrices: dict[str, tuple[int, int]]) -> list[tuple[int, int]]:
    shapes, left = [], dict(matrices)
    for group in _SHARED:
        members = [name for name in left if name.split()[0] in group]
        if members:
            shapes.append((sum(left[name][0] for name in members), left[members[0]][1]))
            for name in members:
                del left[name]
    return [*shapes, *left.values()]


@torch.inference_mode()
def _fastest(run: Callable[[], None]) -> float:
    run()
    times = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


def _side_by_side(run: Callable[[], None]) -> tuple[Callable[[], None], int]:
    """Return what does the matmuls as many times at once as there are lanes, and how many that is."""

    @torch.inference_mode()
    def compute(_: Sequence[Any]) -> None:
        run()

    lanes = Lanes(compute, landed=lambda: None)

    def run_all() -> None:
        for future in [lanes.launch([]) for _ in range(lanes.count)]:
            future.result()

    return run_all, lanes.count


def _plain(weights: list[torch.Tensor], inputs: dict[int, torch.Tensor]) -> Callable[[], None]:
    def run() -> None:
        for weight in weights:
            torch.nn.functional.linear(inputs[weight.shape[1]], weight)

    return run


def _prepacked(weights: list[torch.Tensor], inputs: dict[int, torch.Tensor], tokens: int) -> Callable[[], None] | None:
    if not torch.backends.mkldnn.is_available():
        return None
    # What torch's own compiler lays weights out with; no public name.
    mkldnn: Any = torch.ops.mkldnn
    try:
        packed = [(mkldnn._reorder_linear_weight(each, tokens), each.shape[1]) for each in weights]  # noqa: SLF001
        mkldnn._linear_pointwise(inputs[packed[0][1]], packed[0][0], None, "none", [], "")  # noqa: SLF001
    except (RuntimeError, AttributeError):
        return None

    def run() -> None:
        for weight, size in packed:
            mkldnn._linear_pointwise(inputs[size], weight, None, "none", [], "")  # noqa: SLF001

    return run
