"""Time and memory on a card, or on the CPU where there is none."""

from __future__ import annotations

import gc
import logging
import statistics
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from gpu_checkpoints import lengths_of, texts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Embed = Callable[[list[str]], Any]

GIB = 2**30
LATENCY_CALLS = 50


def forget() -> None:
    """Give back the card's memory that nothing holds any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def seconds(run: Callable[[], Any]) -> float:
    """Return how long a call takes, the card's work included."""
    _settle()
    started = time.perf_counter()
    run()
    _settle()
    return time.perf_counter() - started


def _settle() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def product_rate(shapes: Sequence[tuple[int, int]], rows: int, device: str, dtype: torch.dtype) -> float:
    """Return the floating-point operations a second of matrix products, on random numbers (zeros run faster).

    Args:
        shapes: Inputs and outputs of the matrices.
        rows: Rows they are multiplied with.
        device: Where.
        dtype: In which precision.
    """
    pairs = [
        (torch.randn(rows, width, device=device, dtype=dtype), torch.randn(height, width, device=device, dtype=dtype))
        for width, height in shapes
    ]

    def five_times() -> None:
        for _ in range(5):
            for left, right in pairs:
                functional.linear(left, right)

    five_times()
    took = statistics.median(seconds(five_times) for _ in range(5)) / 5
    return sum(2 * rows * width * height for width, height in shapes) / took


def throughput(embed: Embed, texts: list[str], tokens: int, rounds: int) -> dict[str, Any]:
    """Measure whole calls: median tokens a second over the rounds, and the most memory allocated, weights included."""
    embed(texts[::8])
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    took = [seconds(lambda: embed(texts)) for _ in range(rounds)]
    return {
        "texts": len(texts),
        "tokens": tokens,
        "tokens_per_second": tokens / statistics.median(took),
        "slowest_and_fastest": [tokens / max(took), tokens / min(took)],
        "peak_gib": torch.cuda.max_memory_allocated() / GIB if torch.cuda.is_available() else None,
    }


def latency(embed: Embed, together: int) -> dict[str, float]:
    """Return median and 95th percentile, in ms, of calls with so many queries; each call has its own."""
    texts = texts_of(lengths_of("queries", 20 * together * LATENCY_CALLS), 5)
    calls = [texts[at * together : (at + 1) * together] for at in range(LATENCY_CALLS)]
    for call in calls[:5]:
        embed(call)
    took = []
    for call in calls:
        _settle()
        started = time.perf_counter()
        embed(call)
        _settle()
        took.append(1000 * (time.perf_counter() - started))
    return {"p50_ms": statistics.median(took), "p95_ms": float(np.percentile(took, 95))}


@contextmanager
def counting_varlen() -> Iterator[list[str]]:
    """Collect what `torch.nn.attention.varlen` logs, one line for each call of its kernel (2.11 to 2.13)."""
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler, logger = Lines(), logging.getLogger("torch.nn.attention.varlen")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
