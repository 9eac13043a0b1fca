"""Forward passes: on a GPU the next is launched behind the one that runs, on a CPU some run side by side.

Memory that runs out makes them smaller.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from qwen_embed_integrations.errors import OutOfMemoryError
from qwen_embed_integrations.local.checkpoint.fit import ran_out
from qwen_embed_integrations.local.scheduler.batching import Pass, fail, fills, next_pass

if TYPE_CHECKING:
    from qwen_embed_integrations.local.checkpoint.tokenizer import Tokens
    from qwen_embed_integrations.local.scheduler.batching import Job
    from qwen_embed_integrations.local.scheduler.cpu_lanes import Lanes
    from qwen_embed_integrations.local.scheduler.worker import Compute, Pending
    from qwen_embed_integrations.vectors import Float32

logger = logging.getLogger(__name__)


@dataclass
class TokenBudget:
    """How many tokens one pass may cost; halved for good where memory runs out."""

    tokens: int

    def shrink(self, cost: int) -> None:
        """Halve what was tried."""
        # A pass may have been smaller than the budget, and then half of the budget says nothing.
        self.tokens = max(1, min(self.tokens, cost // 2))
        logger.warning(
            "Out of memory in a forward pass of %d tokens; going on with %d. Pass token_budget=%d to begin there.",
            cost,
            self.tokens,
            self.tokens,
        )


@dataclass
class _Flight:
    """A pass that is being computed.

    Attributes:
        chosen: The pass.
        pending: Its values.
        budget: How large it could have been.
        alone: Whether no other pass has been in flight meanwhile.
        sole: Whether no other may be.
    """

    chosen: Pass
    pending: Pending | Future[Float32]
    budget: int
    alone: bool
    sole: bool

    @property
    def landed(self) -> bool:
        """Whether a lane has ended it."""
        return isinstance(self.pending, Future) and self.pending.done()


@dataclass
class Passes:
    """Computes jobs pass by pass.

    Attributes:
        compute: Turns token sequences into values, at once or later.
        budget: How large a pass may be.
        padded: Whether `compute` pads to the longest sequence.
        lanes: Where passes are computed side by side, if they are.
        jobs: What is not answered yet.
    """

    compute: Compute
    budget: TokenBudget
    padded: bool
    lanes: Lanes | None = None
    jobs: list[Job] = field(default_factory=list)
    _flights: list[_Flight] = field(default_factory=list)
    # After memory ran out, or where a sequence is larger than the budget, the next pass is seen through alone.
    _sole: bool = False

    @property
    def busy(self) -> bool:
        """Whether there is something to compute or to collect."""
        return bool(self._flights) or any(job.ready for job in self.jobs)

    @property
    def waits(self) -> bool:
        """Whether a step would come to nothing before something arrives or lands."""
        if self.lanes is None:
            return not self.busy
        may_launch = self._may_launch and any(job.ready for job in self.jobs)
        return not may_launch and not any(flight.landed for flight in self._flights)

    @property
    def _may_launch(self) -> bool:
        if self._sole or any(flight.sole for flight in self._flights):
            return not self._flights
        # On a GPU one pass is launched behind the one that runs.
        return len(self._flights) < (2 if self.lanes is None else self.lanes.count)

    def add(self, job: Job, tokens: Tokens) -> None:
        """Take in texts of a job, its first or more."""
        if not job.begun:
            self.jobs.append(job)
        try:
            job.add(tokens)
        except BaseException as error:  # noqa: BLE001 it belongs to the caller who waits
            fail(job.future, error)

    def step(self) -> None:
        """Launch the next pass if one may be, then collect what can be."""
        self.jobs = [job for job in self.jobs if not job.future.done()]
        launched = self._may_launch and self._launch_next()
        if self.lanes is not None:
            ended = [flight for flight in self._flights if flight.landed]
        else:
            full = len(self._flights) > 1 or any(flight.sole for flight in self._flights)
            ended = self._flights[:1] if full or not launched else []
        for flight in ended:
            self._flights.remove(flight)
            self._collect(flight)
        self.jobs = [job for job in self.jobs if not job.future.done()]

    def abandon(self, error: BaseException) -> None:
        """Wait for what runs on the device, and give all callers an error."""
        flights, self._flights = self._flights, []
        for flight in flights:
            self._collect(flight)
        for job in self.jobs:
            fail(job.future, error)
        self.jobs = []

    def close(self) -> None:
        """End the lanes."""
        if self.lanes is not None:
            self.lanes.close()

    def _launch_next(self) -> bool:
        """Launch the next pass; tell whether there was one."""
        sole, self._sole = self._sole, False
        lanes = None if sole else self.lanes
        if lanes is not None and not self._flights and not fills(self.jobs, lanes.count):
            lanes = None  # so little is sooner done with all cores on one pass
        parts = 1 if lanes is None else lanes.count
        chosen = next_pass(self.jobs, self.budget.tokens, padded=self.padded, parts=parts)
        if lanes is not None and chosen.cost > self.budget.tokens:
            # One sequence larger than a pass should be gets all cores, and does not share memory with another.
            if self._flights:
                chosen.put_back()
                self._sole = True
                return False
            lanes = None
        if chosen.taken:
            self._launch(chosen, lanes, sole=sole)
        return bool(chosen.taken)

    def _launch(self, chosen: Pass, lanes: Lanes | None, *, sole: bool) -> None:
        try:
            launched = None if lanes is None else self._in_lane(lanes, chosen)
            values = self.compute(chosen.sequences()) if launched is None else launched
        except BaseException as error:  # noqa: BLE001 it belongs to the callers who wait
            self._failed(chosen, error, self.budget.tokens, alone=not self._flights)
            return
        if isinstance(values, np.ndarray):
            self._store(chosen, values)
            return
        for flight in self._flights:
            flight.alone = False
        self._flights.append(_Flight(chosen, values, self.budget.tokens, alone=not self._flights, sole=sole))

    def _in_lane(self, lanes: Lanes, chosen: Pass) -> Future[Float32] | None:
        try:
            return lanes.launch(chosen.sequences())
        except RuntimeError as error:  # no more threads, for now or since the interpreter ends
            logger.warning("No passes side by side: %s", error)
            self.lanes = None
            return None

    def _collect(self, flight: _Flight) -> None:
        try:
            values = flight.pending.result()
        except BaseException as error:  # noqa: BLE001 it belongs to the callers who wait
            self._failed(flight.chosen, error, flight.budget, alone=flight.alone)
            return
        self._store(flight.chosen, values)

    @staticmethod
    def _store(chosen: Pass, values: Float32) -> None:
        try:
            chosen.store(values)
        except BaseException as error:  # noqa: BLE001 it belongs to the callers who wait
            for job in chosen.jobs:
                fail(job.future, error)

    def _failed(self, chosen: Pass, error: BaseException, budget: int, *, alone: bool) -> None:
        if not ran_out(error):
            for job in chosen.jobs:
                fail(job.future, error)
            return
        # The frames of the error hold what the pass allocated.
        error.__traceback__ = error.__context__ = error.__cause__ = None
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch gives no type
            with suppress(RuntimeError):  # what failed the pass may fail this too; the next one will tell
                torch.cuda.empty_cache()
        if len(chosen.taken) > 1:
            # Of passes that ran out side by side, only the first says something; a small one says nothing.
            if alone or (budget == self.budget.tokens and chosen.cost > budget // 2):
                self.budget.shrink(chosen.cost)
        elif alone:
            job, at = chosen.taken[0]
            fail(job.future, _too_large(at, job.length(at), self.budget.tokens))
            return
        chosen.put_back()
        self._sole = True


def _too_large(at: int, tokens: int, token_budget: int) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"memory ran out in a forward pass of this one sequence of {tokens} tokens, and there is nothing left to split "
        f"(`token_budget` is {token_budget} by now). Shorten the texts, use a smaller model or dtype='bfloat16', or "
        "free memory on the device.",
        positions=(at,),
    )
