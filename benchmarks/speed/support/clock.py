"""Timing contenders in turn: search of the best batch size, interleaved rounds, medians."""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import psutil
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


@dataclass(frozen=True)
class Contender:
    """Something that does a job.

    Attributes:
        name: What it is and how it is set.
        run: Does the job once; takes the batch size.
        batch: Batch size; None where it chooses for itself.
    """

    name: str
    run: Callable[[int | None], Any]
    batch: int | None = None


@dataclass(frozen=True)
class Timing:
    """How long a contender took.

    Attributes:
        name: The contender.
        batch: Its batch size; None where it chooses for itself.
        seconds: Median over the runs.
        runs: How many there were; 1 is a run of the search.
    """

    name: str
    batch: int | None
    seconds: float
    runs: int


def physical_cores() -> int:
    """Return how many cores this process may use, hyper-threads not counted."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS or Windows
    usable = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(usable, psutil.cpu_count(logical=False) or usable)


def threads() -> dict[str, Any]:
    """Return what decides on threads here."""
    names = ("OMP_NUM_THREADS", "OMP_PROC_BIND", "OMP_WAIT_POLICY", "KMP_BLOCKTIME", "KMP_AFFINITY", "LD_PRELOAD")
    return {"torch threads": torch.get_num_threads()} | {name: os.environ.get(name, "unset") for name in names}


def seconds(contender: Contender) -> float:
    """Run a contender once."""
    started = time.perf_counter()
    contender.run(contender.batch)
    return time.perf_counter() - started


def search(contender: Contender, sizes: Iterable[int], shown: int | None = None) -> list[Timing]:
    """Run a contender once at each batch size, up to where larger ones cannot win.

    Args:
        contender: It has run before.
        sizes: The batch sizes, ascending.
        shown: A size that is run in any case.

    Returns:
        What was run, the fastest first.
    """
    found: list[Timing] = []
    for size in sizes:
        best = min((each.seconds for each in found), default=0.0)
        # Twice as slow as a smaller batch is beyond the noise, and padding only grows.
        hopeless = bool(found) and found[-1].seconds > 2 * best
        if not hopeless or size == shown:
            found.append(Timing(contender.name, size, seconds(replace(contender, batch=size)), 1))
    found.sort(key=lambda each: each.seconds)
    # One run may have been unlucky.
    for at, each in enumerate(found[:2]):
        found[at] = replace(each, seconds=min(each.seconds, seconds(replace(contender, batch=each.batch))))
    return sorted(found, key=lambda each: each.seconds)


def interleaved(contenders: Sequence[Contender], rounds: int) -> list[Timing]:
    """Run all contenders in turn, round by round; each has run before.

    Args:
        contenders: In the order of the first round; the others begin one further on each.
        rounds: How many.

    Returns:
        A timing for each, in order.
    """
    taken: list[list[float]] = [[] for _ in contenders]
    for at in range(rounds):
        order = [(at + step) % len(contenders) for step in range(len(contenders))]
        for which in order:
            taken[which].append(seconds(contenders[which]))
    return [
        Timing(each.name, each.batch, statistics.median(times), rounds)
        for each, times in zip(contenders, taken, strict=True)
    ]
