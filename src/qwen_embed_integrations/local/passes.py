"""Forward passes in turn: the next is launched while the last one runs, and memory that runs out makes them smaller."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from qwen_embed_integrations.errors import OutOfMemoryError
from qwen_embed_integrations.local.jobs import Pass, fail, next_pass
from qwen_embed_integrations.local.memory import ran_out

if TYPE_CHECKING:
    from qwen_embed_integrations.local.jobs import Job
    from qwen_embed_integrations.local.tokens import Tokens
    from qwen_embed_integrations.local.worker import Compute, Pending
    from qwen_embed_integrations.vectors import Float32

logger = logging.getLogger(__name__)


@dataclass
class TokenBudget:
    """How many tokens one pass may cost; halved for good where memory runs out."""

    tokens: int

    def shrink(self, cost: int) -> None:
        """Halve what was tried."""
        # A pass may have been smaller than the budget, and then half of the budget says nothing.
        self.tokens = max(1, min(self.tokens, cost) // 2)
        logger.warning(
            "Out of memory in a forward pass of %d tokens; going on with %d. Pass token_budget=%d to begin there.",
            cost,
            self.tokens,
            self.tokens,
        )


@dataclass
class Passes:
    """Computes jobs pass by pass.

    Attributes:
        compute: Turns token sequences into values, at once or later.
        budget: How large a pass may be.
        padded: Whether `compute` pads to the longest sequence.
        jobs: What is not answered yet.
    """

    compute: Compute
    budget: TokenBudget
    padded: bool
    jobs: list[Job] = field(default_factory=list)
    _flying: tuple[Pass, Pending] | None = None
    # After memory ran out, one pass is seen through alone.
    _alone: bool = False

    @property
    def busy(self) -> bool:
        """Whether there is something to compute or to collect."""
        return self._flying is not None or any(job.ready for job in self.jobs)

    def add(self, job: Job, tokens: Tokens) -> None:
        """Take in texts of a job, its first or more."""
        if not job.begun:
            self.jobs.append(job)
        try:
            job.add(tokens)
        except BaseException as error:  # noqa: BLE001 it belongs to the caller who waits
            fail(job.future, error)

    def step(self) -> None:
        """Launch the next pass, then collect the one before it."""
        self.jobs = [job for job in self.jobs if not job.future.done()]
        chosen = next_pass(self.jobs, self.budget.tokens, padded=self.padded)
        alone, self._alone = self._alone, False
        flying, self._flying = self._flying, None
        launched = self._launch(chosen, alone=flying is None) if chosen.taken else None
        if flying is not None:
            self._collect(*flying, alone=launched is None)
        if launched is not None and (alone or self._alone):
            self._collect(*launched, alone=flying is None)
        else:
            self._flying = launched
        self.jobs = [job for job in self.jobs if not job.future.done()]

    def abandon(self, error: BaseException) -> None:
        """Wait for what runs on the device, and give all callers an error."""
        flying, self._flying = self._flying, None
        if flying is not None:
            self._collect(*flying, alone=True)
        for job in self.jobs:
            fail(job.future, error)
        self.jobs = []

    def _launch(self, chosen: Pass, *, alone: bool) -> tuple[Pass, Pending] | None:
        try:
            values = self.compute(chosen.sequences())
        except BaseException as error:  # noqa: BLE001 it belongs to the callers who wait
            self._failed(chosen, error, alone=alone)
            return None
        if not isinstance(values, np.ndarray):
            return chosen, values
        self._store(chosen, values)
        return None

    def _collect(self, chosen: Pass, pending: Pending, *, alone: bool) -> None:
        try:
            values = pending.result()
        except BaseException as error:  # noqa: BLE001 it belongs to the callers who wait
            self._failed(chosen, error, alone=alone)
            return
        self._store(chosen, values)

    @staticmethod
    def _store(chosen: Pass, values: Float32) -> None:
        try:
            chosen.store(values)
        except BaseException as error:  # noqa: BLE001 it belongs to the callers who wait
            for job in chosen.jobs:
                fail(job.future, error)

    def _failed(self, chosen: Pass, error: BaseException, *, alone: bool) -> None:
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
            self.budget.shrink(chosen.cost)
        elif alone:
            job, at = chosen.taken[0]
            fail(job.future, _too_large(at, job.length(at), self.budget.tokens))
            return
        chosen.put_back()
        self._alone = True


def _too_large(at: int, tokens: int, token_budget: int) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"memory ran out in a forward pass of this one sequence of {tokens} tokens, and there is nothing left to split "
        f"(`token_budget` is {token_budget} by now). Shorten the texts, use a smaller model or dtype='bfloat16', or "
        "free memory on the device.",
        positions=(at,),
    )
