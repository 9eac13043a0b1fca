"""The clock of all scripts: jobs are timed in turn with what they are compared with, within a time budget."""

from __future__ import annotations

import gc
import statistics
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# A batch size that is slower than the best one by more than this is beyond the noise, and larger ones pad even more.
_CLEARLY_SLOWER = 1.25


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
        seconds: Wall time of a run, median.
        cpu_seconds: CPU time of this process in a run, median.
        runs: How many there were.
    """

    name: str
    batch: int | None
    seconds: float
    cpu_seconds: float
    runs: int


class Budget:
    """Time that may be spent.

    Args:
        limit: Seconds from now on.
    """

    def __init__(self, limit: float) -> None:
        self._started = time.perf_counter()
        self._limit = limit

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._started

    def half(self) -> Budget:
        """Return a budget of half of what is left."""
        return Budget((self._limit - self.spent) / 2)

    def allows(self, seconds: float) -> bool:
        """Return whether something that takes so long would end in time."""
        return self.spent + seconds <= self._limit


def forget() -> None:
    """Free the memory that nothing refers to any more, a card's too."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def finish() -> None:
    """Wait until a card has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(run: Callable[[], Any]) -> tuple[float, float]:
    """Return wall and CPU seconds of a call, a card's work included."""
    finish()
    started, cpu_started = time.perf_counter(), time.process_time()
    run()
    finish()
    return time.perf_counter() - started, time.process_time() - cpu_started


def best_batch_size(contender: Contender, sizes: Sequence[int], budget: Budget) -> int:
    """Find the batch size that a contender is fastest with.

    Larger sizes are not tried once one is clearly slower than the best so far, does not fit into memory, or would
    exceed the budget. The best two are run twice where the budget allows, since one run may have been unlucky.

    Args:
        contender: It has run before.
        sizes: The batch sizes, ascending.
        budget: What the search may take.

    Raises:
        MemoryError: If memory is too small for every size.
    """
    if len(sizes) == 1:
        return sizes[0]
    taken: dict[int, float] = {}
    for size in sizes:
        if taken and not budget.allows(max(taken.values())):
            break
        try:
            taken[size] = _seconds(replace(contender, batch=size))
        except torch.OutOfMemoryError:
            forget()
            break
        if taken[size] > _CLEARLY_SLOWER * min(taken.values()):
            break
    if not taken:
        raise MemoryError(f"{contender.name} runs out of memory at every batch size from {sizes[0]} on")
    for size in sorted(taken, key=taken.__getitem__)[:2]:
        if len(taken) > 1 and budget.allows(taken[size]):
            taken[size] = min(taken[size], _seconds(replace(contender, batch=size)))
    return min(taken, key=taken.__getitem__)


def _seconds(contender: Contender) -> float:
    return timed(lambda: contender.run(contender.batch))[0]


def in_turn(contenders: Sequence[Contender], rounds: int, budget: Budget) -> list[Timing]:
    """Run all contenders in turn, round by round: at least one round, and no more than the budget allows.

    Args:
        contenders: In the order of the first round; each further round begins with the next one. Each has run before.
        rounds: How many at most.
        budget: What they may take.

    Returns:
        A timing for each, in order.
    """
    taken: list[list[tuple[float, float]]] = [[] for _ in contenders]
    longest = 0.0
    for at in range(rounds):
        if at and not budget.allows(longest):
            break
        started = time.perf_counter()
        for step in range(len(contenders)):
            position = (at + step) % len(contenders)
            contender = contenders[position]
            taken[position].append(timed(lambda contender=contender: contender.run(contender.batch)))  # type: ignore[misc]
        longest = max(longest, time.perf_counter() - started)
    return [
        Timing(each.name, each.batch, *map(statistics.median, zip(*times, strict=True)), len(times))
        for each, times in zip(contenders, taken, strict=True)
    ]
