"""What callers handed in, and which of its sequences go into the next pass."""

from __future__ import annotations

import bisect
import math
import traceback
from concurrent.futures import InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future

    from qwen_embed_integrations.local.checkpoint.tokenizer import Tokens
    from qwen_embed_integrations.vectors import Float32

# Tokens that sequences must have in common at their beginning for it to pay to compute them once.
_LEAST_SHARED = 8

# Tokens that each of the passes side by side must have for it to pay.
_LEAST_PART = 256

# On CUDA each sequence reads a copy of its own of what all begin with, in every layer. Keys and values are a small part
# of what a token takes, so that a few times the budget still fits beside it.
_MOST_READ = 4


@dataclass
class Answer:
    """What a job came to: values in the order of its texts, which texts were cut, and how many tokens it took."""

    values: Float32
    shortened: list[int]
    tokens: int


class Job:
    """The texts of one call, computed in any order.

    A job is open for computing as soon as its first texts are tokenized; the rest joins as it comes.

    Attributes:
        future: What the caller waits for.
        waiting: Tokens that no pass has taken yet.
        ready: Positions of the sequences that no pass has taken yet, shortest first.
        prefix: What all sequences share of their beginning, except for a last token of each. None if nobody asked.
    """

    def __init__(self, future: Future[Answer], count: int, *, shares_prefix: bool) -> None:
        self.future = future
        self.waiting = 0
        self.ready: list[int] = []
        self.prefix: list[int] | None = None
        self._shares_prefix = shares_prefix
        self._sequences: list[Any] = []
        self._shortened: list[int] = []
        self._tokens = 0
        self._missing = self._count = count
        self._values: Float32 | None = None

    @property
    def begun(self) -> bool:
        """Whether any of its texts are tokenized."""
        return bool(self._sequences)

    @property
    def whole(self) -> bool:
        """Whether all its texts are tokenized."""
        return len(self._sequences) == self._count

    def add(self, tokens: Tokens) -> None:
        """Take in the next texts, tokenized."""
        first = len(self._sequences)
        self._sequences += tokens.sequences
        self._shortened += [first + at for at in tokens.shortened]
        added = sum(map(len, tokens.sequences))
        self._tokens += added
        self.waiting += added
        # Taken from the end, longest first: if memory runs out, it does so at once, and what is left to fill the last
        # passes is small.
        self.ready += range(first, len(self._sequences))
        self.ready.sort(key=lambda at: len(self._sequences[at]))
        if self._shares_prefix:
            found = shared_beginning([each[:-1] for each in tokens.sequences])
            self.prefix = found if self.prefix is None else shared_beginning([self.prefix, found])

    def length(self, at: int) -> int:
        """Return how many tokens a sequence has."""
        return len(self._sequences[at])

    def sequence(self, at: int) -> Any:
        """Return a sequence."""
        return self._sequences[at]

    def take(self) -> int:
        """Take the longest sequence that no pass has taken."""
        at = self.ready.pop()
        self.waiting -= self.length(at)
        return at

    def put_back(self, at: int) -> None:
        """Undo a `take`."""
        bisect.insort(self.ready, at, key=self.length)
        self.waiting += self.length(at)

    def store(self, at: int, value: Any) -> None:
        """Keep a value, and answer the caller if it was the last."""
        if self._values is None:
            self._values = np.empty((self._count, *value.shape), np.float32)
        self._values[at] = value
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
        """The jobs that have a part in it, each once."""
        return list({id(job): job for job, _ in self.taken}.values())

    def sequences(self) -> list[Any]:
        """Return what to compute."""
        return [job.sequence(at) for job, at in self.taken]

    def store(self, values: Float32) -> None:
        """Hand each job its values."""
        for (job, at), value in zip(self.taken, values, strict=True):
            job.store(at, value)

    def put_back(self) -> None:
        """Give the sequences back to their jobs, as if they had not been taken."""
        for job, at in reversed(self.taken):
            job.put_back(at)


def fills(jobs: Iterable[Job], parts: int) -> bool:
    """Tell whether there is enough to do for so many passes side by side."""
    ready = [job for job in jobs if job.ready]
    own, longest = _own_tokens(ready), max((job.length(job.ready[-1]) for job in ready), default=0)
    return parts > 1 and own >= parts * max(_LEAST_PART, longest)


def next_pass(jobs: Sequence[Job], token_budget: int, *, padded: bool, parts: int = 1) -> Pass:
    """Take the sequences of the next pass from their jobs, those of short jobs first.

    Args:
        jobs: All that has come in, not yet answered.
        token_budget: Most that a pass may cost, unless a single sequence costs more.
        padded: Whether the model pads to the longest sequence, so that padding counts too.
        parts: How many passes are computed side by side.
    """
    chosen = Pass()
    jobs = [job for job in jobs if job.ready]
    size = token_budget if padded else _even_size(jobs, token_budget, parts)
    tokens = longest = 0
    prefix: list[int] = []
    for job in sorted(jobs, key=lambda job: job.waiting):
        shared = job.prefix or []
        if chosen.taken:
            shared = shared_beginning([prefix, shared])
        while job.ready and (not chosen.taken or chosen.cost < size):
            length = job.length(job.ready[-1])
            if padded:
                cost = max(longest, length) * (len(chosen.taken) + 1)
            else:
                # The common beginning is computed once for all.
                cost = tokens + length - len(shared) * len(chosen.taken)
            # One that begins otherwise would cost the others their common beginning, more than it saves by joining.
            loses = not padded and cost - chosen.cost > length
            reads = tokens + length + len(shared)
            if chosen.taken and (cost > token_budget or loses or reads > _MOST_READ * token_budget):
                break
            chosen.taken.append((job, job.take()))
            chosen.cost = cost
            tokens, longest, prefix = tokens + length, max(longest, length), shared
    return chosen


def _even_size(jobs: Sequence[Job], token_budget: int, parts: int) -> int:
    """Return what each pass should come to, so that the last ones are as full, or end together."""
    shared = len(_prefix(jobs))
    own = _own_tokens(jobs)
    if parts > 1:
        # Each takes its share of what is left, so that the last ones are small; but not much less than what all of them
        # compute again.
        return min(token_budget, shared + max(_LEAST_PART, shared, math.ceil(own / parts)))
    passes = math.ceil(own / max(1, token_budget - shared))
    if passes <= 1 or not all(job.whole for job in jobs):
        return token_budget
    return shared + math.ceil(own / passes)


def _own_tokens(jobs: Sequence[Job]) -> int:
    """Return how many tokens no pass has taken yet, without what all sequences begin with."""
    shared = len(_prefix(jobs))
    return sum(job.waiting - shared * len(job.ready) for job in jobs)


def _prefix(jobs: Sequence[Job]) -> list[int]:
    return shared_beginning([job.prefix or [] for job in jobs])


def shared_beginning(sequences: Sequence[list[int]]) -> list[int]:
    """Return what all sequences begin with, or nothing if it is too short to pay."""
    first, last = min(sequences, default=[]), max(sequences, default=[])
    end = next((at for at, (one, other) in enumerate(zip(first, last)) if one != other), len(first))  # noqa: B905 one may be longer
    return first[:end] if end >= _LEAST_SHARED else []
