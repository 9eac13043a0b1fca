"""Forward passes: on a GPU the next is launched behind the one that runs, on a CPU some run side by side.

Memory that runs out makes them smaller.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from qwen_embed_integrations.errors import OutOfMemoryError
from qwen_embed_integrations.local.device import ran_out, release_cache
from qwen_embed_integrations.local.scheduler.batching import Pass, can_fill, fail, next_pass

if TYPE_CHECKING:
    from qwen_embed_integrations.local.scheduler.batching import Job
    from qwen_embed_integrations.local.scheduler.cpu_lanes import Lanes
    from qwen_embed_integrations.local.sequences import Compute, Pending, TokenBatch, Tokens
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
class _InFlight:
    """A pass that is being computed.

    Attributes:
        planned: The pass.
        pending: Its values.
        budget: How large it could have been.
        alone: Whether no other pass has been in flight meanwhile.
        exclusive: Whether no other may be.
    """

    planned: Pass
    pending: Pending | Future[Float32]
    budget: int
    alone: bool
    exclusive: bool

    @property
    def finished(self) -> bool:
        """Whether a lane has finished it."""
        return isinstance(self.pending, Future) and self.pending.done()


@dataclass
class Passes:
    """Computes jobs pass by pass.

    Attributes:
        compute: The model, until closing.
        budget: How large a pass may be.
        padded: Whether the model pads to the longest sequence.
        lanes: Where passes are computed side by side, if they are.
        jobs: Those that are not answered.
    """

    compute: Compute
    budget: TokenBudget
    padded: bool
    lanes: Lanes | None = None
    jobs: list[Job] = field(default_factory=list)
    _in_flight: list[_InFlight] = field(default_factory=list)
    # After memory ran out, or where a sequence is larger than the budget, the next pass is computed alone.
    _next_is_exclusive: bool = False

    @property
    def busy(self) -> bool:
        """Whether there is something to compute or to collect."""
        return bool(self._in_flight) or any(job.ready for job in self.jobs)

    @property
    def must_wait(self) -> bool:
        """Whether a step would do nothing before something arrives or a lane finishes."""
        if self.lanes is None:
            return not self.busy
        can_launch = self._may_launch and any(job.ready for job in self.jobs)
        return not can_launch and not any(flight.finished for flight in self._in_flight)

    @property
    def _may_launch(self) -> bool:
        if self._next_is_exclusive or any(flight.exclusive for flight in self._in_flight):
            return not self._in_flight
        # On a GPU one pass is launched behind the one that runs.
        return len(self._in_flight) < (2 if self.lanes is None else self.lanes.count)

    def add(self, job: Job, tokens: Tokens) -> None:
        """Add texts of a job, its first or more."""
        if not job.started:
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
            finished = [flight for flight in self._in_flight if flight.finished]
        else:
            full = len(self._in_flight) > 1 or any(flight.exclusive for flight in self._in_flight)
            finished = self._in_flight[:1] if full or not launched else []
        for flight in finished:
            self._in_flight.remove(flight)
            self._collect(flight)
        self.jobs = [job for job in self.jobs if not job.future.done()]

    def abandon(self, error: BaseException) -> None:
        """Wait for what runs on the device, and give all callers an error."""
        in_flight, self._in_flight = self._in_flight, []
        for flight in in_flight:
            self._collect(flight)
        for job in self.jobs:
            fail(job.future, error)
        self.jobs = []

    def close(self) -> None:
        """End the lanes and let the model go."""
        if self.lanes is not None:
            self.lanes.close()
        self.lanes = None
        del self.compute

    def _launch_next(self) -> bool:
        """Launch the next pass; tell whether there was one."""
        exclusive, self._next_is_exclusive = self._next_is_exclusive, False
        lanes = None if exclusive else self.lanes
        if lanes is not None and not self._in_flight and not can_fill(self.jobs, lanes.count):
            lanes = None  # so little is computed sooner with all cores on one pass
        parts = 1 if lanes is None else lanes.count
        planned = next_pass(self.jobs, self.budget.tokens, padded=self.padded, parts=parts)
        if lanes is not None and planned.cost > self.budget.tokens:
            # One sequence larger than a pass should be gets all cores, and does not share memory with another.
            if self._in_flight:
                planned.put_back()
                self._next_is_exclusive = True
                return False
            lanes = None
        if planned.taken:
            self._launch(planned, lanes, exclusive=exclusive)
        return bool(planned.taken)

    def _launch(self, planned: Pass, lanes: Lanes | None, *, exclusive: bool) -> None:
        try:
            values = self._start(planned.batch(), lanes)
        except BaseException as error:  # noqa: BLE001 it belongs to the callers who wait
            self._failed(planned, error, self.budget.tokens, alone=not self._in_flight)
            return
        if isinstance(values, np.ndarray):
            self._store(planned, values)
            return
        for flight in self._in_flight:
            flight.alone = False
        alone = not self._in_flight
        self._in_flight.append(_InFlight(planned, values, self.budget.tokens, alone=alone, exclusive=exclusive))

    def _start(self, batch: TokenBatch, lanes: Lanes | None) -> Float32 | Pending | Future[Float32]:
        if lanes is not None:
            try:
                return lanes.launch(batch)
            except RuntimeError as error:  # no more threads, for now or since the interpreter ends
                logger.warning("No passes side by side: %s", error)
                self.lanes = None
        return self.compute(batch)

    def _collect(self, flight: _InFlight) -> None:
        try:
            values = flight.pending.result()
        except BaseException as error:  # noqa: BLE001 it belongs to the callers who wait
            self._failed(flight.planned, error, flight.budget, alone=flight.alone)
            return
        self._store(flight.planned, values)

    @staticmethod
    def _store(planned: Pass, values: Float32) -> None:
        try:
            planned.store(values)
        except BaseException as error:  # noqa: BLE001 it belongs to the callers who wait
            for job in planned.jobs:
                fail(job.future, error)

    def _failed(self, planned: Pass, error: BaseException, budget: int, *, alone: bool) -> None:
        if not ran_out(error):
            for job in planned.jobs:
                fail(job.future, error)
            return
        # The frames of the error hold what the pass allocated.
        error.__traceback__ = error.__context__ = error.__cause__ = None
        release_cache()
        if len(planned.taken) > 1:
            # Of passes that ran out side by side, only the first says something; a small one says nothing.
            if alone or (budget == self.budget.tokens and planned.cost > budget // 2):
                self.budget.shrink(planned.cost)
        elif alone:
            job, position = planned.taken[0]
            fail(job.future, _too_large(position, job.length(position), self.budget.tokens))
            return
        planned.put_back()
        self._next_is_exclusive = True


def _too_large(position: int, tokens: int, token_budget: int) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"memory ran out in a forward pass of this one sequence of {tokens} tokens, and there is nothing left to split "
        f"(`token_budget` is {token_budget} by now). Shorten the texts, use a smaller model or dtype='bfloat16', or "
        "free memory on the device.",
        positions=(position,),
    )
