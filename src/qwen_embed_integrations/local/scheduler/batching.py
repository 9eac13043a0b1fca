"""The jobs of callers, and which of their sequences go into the next pass."""

from __future__ import annotations

import bisect
import math
import traceback
from concurrent.futures import InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from qwen_embed_integrations.local.sequences import TokenBatch, common_prefix

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future

    from qwen_embed_integrations.local.sequences import Tokens
    from qwen_embed_integrations.vectors import Float32

# Tokens that each of several passes side by side must have for it to pay.
_MIN_PASS = 256

# On CUDA every sequence reads a copy of the shared prefix, in every layer. Keys and values are a small part of what a
# token takes, so that a few times the budget still fits.
_MAX_READ = 4


@dataclass
class Answer:
    """The result of a job: values in the order of its texts, which texts were cut, and how many tokens it took."""

    values: Float32
    shortened: list[int]
    tokens: int


class Job:
    """The texts of one call, computed in any order.

    Its first texts may be computed as soon as they are tokenized; the others are added as they come.

    Attributes:
        future: What the caller waits for.
        ready: Positions of the sequences that no pass has taken yet, shortest first.
        ready_tokens: How many tokens these have.
        prefix: What all sequences begin with, apart from the last token of each. None if the model shares no prefix.
    """

    def __init__(self, future: Future[Answer], count: int, *, shares_prefix: bool) -> None:
        self.future = future
        self.ready: list[int] = []
        self.ready_tokens = 0
        self.prefix: list[int] | None = None
        self._shares_prefix = shares_prefix
        self._sequences: list[Any] = []
        self._shortened: list[int] = []
        self._tokens = 0
        self._missing = self._count = count
        self._values: Float32 | None = None

    @property
    def started(self) -> bool:
        """Whether any of its texts are tokenized."""
        return bool(self._sequences)

    @property
    def complete(self) -> bool:
        """Whether all its texts are tokenized."""
        return len(self._sequences) == self._count

    def add(self, tokens: Tokens) -> None:
        """Add the next texts, tokenized."""
        first = len(self._sequences)
        self._sequences += tokens.sequences
        self._shortened += [first + position for position in tokens.shortened]
        added = sum(map(len, tokens.sequences))
        self._tokens += added
        self.ready_tokens += added
        # Taken from the end, longest first: if memory runs out, it does so at once, and the last passes are filled with
        # small ones.
        self.ready += range(first, len(self._sequences))
        self.ready.sort(key=self.length)
        if self._shares_prefix:
            prefix = common_prefix([sequence[:-1] for sequence in tokens.sequences])
            self.prefix = prefix if self.prefix is None else common_prefix([self.prefix, prefix])

    def length(self, position: int) -> int:
        """Return how many tokens a sequence has."""
        return len(self._sequences[position])

    def sequence(self, position: int) -> Any:
        """Return a sequence."""
        return self._sequences[position]

    def take(self) -> int:
        """Take the longest sequence that no pass has taken."""
        position = self.ready.pop()
        self.ready_tokens -= self.length(position)
        return position

    def put_back(self, position: int) -> None:
        """Undo a `take`."""
        bisect.insort(self.ready, position, key=self.length)
        self.ready_tokens += self.length(position)

    def store(self, position: int, value: Any) -> None:
        """Keep a value, and answer the caller if it was the last."""
        if self._values is None:
            self._values = np.empty((self._count, *value.shape), np.float32)
        self._values[position] = value
        self._missing -= 1
        if not self._missing:
            with suppress(InvalidStateError):  # the caller has cancelled it
                self.future.set_result(Answer(self._values, self._shortened, self._tokens))


def fail(future: Future[Answer], error: BaseException) -> None:
    """Give the caller an error, unless it has cancelled or has its answer."""
    # The caller sees where it was raised, but keeps no tensor of those frames alive.
    traceback.clear_frames(error.__traceback__)
    with suppress(InvalidStateError):
        future.set_exception(error)


@dataclass
class Pass:
    """Sequences to compute together.

    Attributes:
        taken: Which job each comes from, and its position there.
        cost: Tokens that the model computes for them.
    """

    taken: list[tuple[Job, int]] = field(default_factory=list)
    cost: int = 0

    @property
    def jobs(self) -> list[Job]:
        """The jobs that have sequences in it, each once."""
        return list({id(job): job for job, _ in self.taken}.values())

    def batch(self) -> TokenBatch:
        """Return what to compute, with the prefix that these sequences share: at least that of their jobs."""
        sequences = [job.sequence(position) for job, position in self.taken]
        if len(sequences) == 1 or any(job.prefix is None for job in self.jobs):
            return TokenBatch(sequences)
        # Each keeps a token of its own, to be the last.
        return TokenBatch(sequences, shared=len(common_prefix([sequence[:-1] for sequence in sequences])))

    def store(self, values: Float32) -> None:
        """Hand each job its values."""
        for (job, position), value in zip(self.taken, values, strict=True):
            job.store(position, value)

    def put_back(self) -> None:
        """Give the sequences back to their jobs, as if they had not been taken."""
        for job, position in reversed(self.taken):
            job.put_back(position)


def can_fill(jobs: Iterable[Job], parts: int) -> bool:
    """Tell whether there is enough to compute for so many passes side by side."""
    ready = [job for job in jobs if job.ready]
    longest = max((job.length(job.ready[-1]) for job in ready), default=0)
    return parts > 1 and _unshared_tokens(ready) >= parts * max(_MIN_PASS, longest)


def next_pass(jobs: Sequence[Job], token_budget: int, *, padded: bool, parts: int = 1) -> Pass:
    """Take the sequences of the next pass from their jobs, those of short jobs first.

    Args:
        jobs: All jobs that are not answered.
        token_budget: How much a pass may cost at most, unless a single sequence costs more.
        padded: Whether the model pads to the longest sequence, so that padding counts too.
        parts: How many passes are computed side by side.
    """
    planned = Pass()
    jobs = [job for job in jobs if job.ready]
    target = token_budget if padded else _even_cost(jobs, token_budget, parts)
    tokens = longest = 0
    prefix: list[int] = []
    for job in sorted(jobs, key=lambda job: job.ready_tokens):
        shared = job.prefix or []
        if planned.taken:
            shared = common_prefix([prefix, shared])
        while job.ready and (not planned.taken or planned.cost < target):
            length = job.length(job.ready[-1])
            if padded:
                cost = max(longest, length) * (len(planned.taken) + 1)
            else:
                # The shared prefix is computed once for all.
                cost = tokens + length - len(shared) * len(planned.taken)
            # One that begins differently would cost the others their shared prefix, more than it saves by joining.
            costs_prefix = not padded and cost - planned.cost > length
            read = tokens + length + len(shared)
            if planned.taken and (cost > token_budget or costs_prefix or read > _MAX_READ * token_budget):
                break
            planned.taken.append((job, job.take()))
            planned.cost = cost
            tokens, longest, prefix = tokens + length, max(longest, length), shared
    return planned


def _even_cost(jobs: Sequence[Job], token_budget: int, parts: int) -> int:
    """Return what each pass should cost, so that the last ones are as full as the others, or end together."""
    shared = len(_common_prefix(jobs))
    unshared = _unshared_tokens(jobs)
    if parts > 1:
        # Each takes its share of what is left, so that the last ones are small; but not much less than the prefix that
        # each of them computes again.
        return min(token_budget, shared + max(_MIN_PASS, shared, math.ceil(unshared / parts)))
    passes = math.ceil(unshared / max(1, token_budget - shared))
    if passes <= 1 or not all(job.complete for job in jobs):
        return token_budget
    return shared + math.ceil(unshared / passes)


def _unshared_tokens(jobs: Sequence[Job]) -> int:
    """Return how many tokens no pass has taken yet, without the prefix that all sequences share."""
    shared = len(_common_prefix(jobs))
    return sum(job.ready_tokens - shared * len(job.ready) for job in jobs)


def _common_prefix(jobs: Sequence[Job]) -> list[int]:
    return common_prefix([job.prefix or [] for job in jobs])
