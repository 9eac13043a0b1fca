"""Passes that run ahead, and passes that memory is too small for."""

from __future__ import annotations

import logging
import pickle
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from jobs import end_threads
from qwen_embed_integrations import Embedder
from qwen_embed_integrations.errors import OutOfMemoryError, QwenEmbedError
from qwen_embed_integrations.local.scheduler.worker import Worker
from qwen_embed_integrations.local.sequences import TokenBatch, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

CPU_ERROR = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "1099511627776 bytes. Error code 12 (Cannot allocate memory)"
)
CUDA_ERROR = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def first_tokens(batch: TokenBatch) -> np.ndarray:
    return np.array([each[0] for each in batch.sequences], np.float32)


def same(texts: Sequence[Any]) -> Tokens:
    return Tokens(list(texts), [])


class Small:
    """A model with memory for so many tokens, which remembers the passes that fitted."""

    def __init__(self, memory: int, error: Exception = CUDA_ERROR) -> None:
        self.memory = memory
        self.error = error
        self.sizes: list[int] = []
        self.tried = 0

    def __call__(self, batch: TokenBatch) -> np.ndarray:
        self.tried += 1
        size = sum(map(len, batch.sequences))
        if size > self.memory:
            raise self.error
        self.sizes.append(size)
        return first_tokens(batch)


class Card:
    """A device that computes one pass after another in its own time, as a GPU does."""

    def __init__(self, compute: Callable[[TokenBatch], np.ndarray] = first_tokens) -> None:
        self.compute = compute
        self.may_end = threading.Semaphore(0)
        self.launched: list[list[list[int]]] = []
        self.collected: list[list[list[int]]] = []
        self.change = threading.Condition()

    def __call__(self, batch: TokenBatch) -> Running:
        with self.change:
            self.launched.append(list(batch.sequences))
            self.change.notify_all()
        return Running(self, list(batch.sequences))

    def wait_for(self, launched: int) -> bool:
        with self.change:
            return self.change.wait_for(lambda: len(self.launched) >= launched, timeout=10)


class Running:
    def __init__(self, card: Card, sequences: list[list[int]]) -> None:
        self.card = card
        self.sequences = sequences

    def result(self) -> np.ndarray:
        assert self.card.may_end.acquire(timeout=10)
        values = self.card.compute(TokenBatch(self.sequences))
        self.card.collected.append(self.sequences)
        return values


def test_the_next_pass_is_launched_before_the_last_is_collected() -> None:
    card = Card()
    future = Worker(card, token_budget=1).submit(same, [[3], [2], [1]])
    assert card.wait_for(launched=2)
    assert card.collected == []
    card.may_end.release(3)
    assert future.result(timeout=10).values.tolist() == [3, 2, 1]
    assert card.launched == card.collected


def test_no_more_than_one_pass_waits_behind_the_running_one() -> None:
    card = Card()
    future = Worker(card, token_budget=1).submit(same, [[5], [4], [3], [2], [1]])
    for ended in range(4):
        assert card.wait_for(launched=ended + 2)
        assert len(card.launched) - len(card.collected) <= 2
        card.may_end.release()
    card.may_end.release()
    assert future.result(timeout=10).values.tolist() == [5, 4, 3, 2, 1]


def test_a_lone_pass_is_collected_at_once() -> None:
    card = Card()
    card.may_end.release()
    assert Worker(card, token_budget=10).submit(same, [[7]]).result(timeout=10).values.tolist() == [7]


def test_an_error_on_collection_reaches_its_caller_alone() -> None:
    def compute(batch: TokenBatch) -> np.ndarray:
        if [0] in batch.sequences:
            raise ZeroDivisionError
        return first_tokens(batch)

    card = Card(compute)
    worker = Worker(card, token_budget=1)
    card.may_end.release(2)
    wrong, right = worker.submit(same, [[0]]), worker.submit(same, [[8]])
    with pytest.raises(ZeroDivisionError):
        wrong.result(timeout=10)
    assert right.result(timeout=10).values.tolist() == [8]


@pytest.mark.parametrize("error", [CUDA_ERROR, CPU_ERROR, MemoryError()], ids=["cuda", "cpu", "python"])
def test_where_memory_runs_out_passes_become_smaller_and_nothing_is_lost(error: Exception) -> None:
    model = Small(memory=30, error=error)
    worker = Worker(model, token_budget=100)
    answer = worker.submit(same, [[at] * (at % 7 + 1) for at in range(1, 101)]).result(timeout=10)
    assert answer.values.tolist() == [*range(1, 101)]
    assert max(model.sizes) <= 30


def test_the_smaller_budget_stays_even_when_the_worker_starts_again() -> None:
    model = Small(memory=30)
    worker = Worker(model, token_budget=100)
    worker.submit(same, [[1]] * 100).result(timeout=10)
    end_threads(worker)
    tried = model.tried
    worker.submit(same, [[1]] * 50).result(timeout=10)
    assert model.tried - tried == len(model.sizes[-2:])
    assert worker.token_budget == 25


def test_each_halving_is_logged_with_the_new_budget(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="qwen_embed_integrations"):
        Worker(Small(memory=30), token_budget=100).submit(same, [[1]] * 100).result(timeout=10)
    assert [record.getMessage() for record in caplog.records] == [
        f"Out of memory in a forward pass of {cost} tokens; going on with {half}. Pass token_budget={half} to begin "
        "there."
        for cost, half in [(100, 50), (50, 25)]
    ]


def test_a_pass_far_below_the_budget_is_halved_itself() -> None:
    model = Small(memory=6)
    Worker(model, token_budget=1_000_000).submit(same, [[1]] * 10).result(timeout=10)
    assert model.tried == 3


def test_a_sequence_too_large_for_memory_fails_its_own_job_only() -> None:
    model = Small(memory=30)
    worker = Worker(model, token_budget=100)
    large = worker.submit(same, [[1], [2] * 31, [3]])
    small = worker.submit(same, [[4], [5]])
    with pytest.raises(OutOfMemoryError, match=r"sequence of 31 tokens.*`token_budget` is") as caught:
        large.result(timeout=10)
    assert caught.value.positions == (1,)
    assert small.result(timeout=10).values.tolist() == [4, 5]


def test_memory_may_run_out_on_collection_too() -> None:
    card = Card(Small(memory=30))
    card.may_end.release(1000)
    worker = Worker(card, token_budget=100)
    fits = worker.submit(same, [[at] * 5 for at in range(1, 60)])
    large = worker.submit(same, [[9] * 31])
    assert fits.result(timeout=10).values.tolist() == [*range(1, 60)]
    with pytest.raises(OutOfMemoryError):
        large.result(timeout=10)


def test_a_sequence_too_large_for_memory_is_not_tried_again_beside_all_other_work() -> None:
    model = Small(memory=30)
    card = Card(model)
    worker = Worker(card, token_budget=5)
    other = worker.submit(same, [[1] * 5] * 20)
    large = worker.submit(same, [[9] * 31])
    assert card.wait_for(launched=2)
    card.may_end.release(1000)
    with pytest.raises(OutOfMemoryError):
        large.result(timeout=10)
    other.result(timeout=10)
    assert model.tried <= 20 + 2


def test_a_sequence_that_fits_only_alone_is_tried_alone() -> None:
    # Room for one pass at a time: what is launched while another runs finds no memory.
    flying = threading.Semaphore(1)

    class Lonely:
        def __init__(self, batch: TokenBatch) -> None:
            if not flying.acquire(blocking=False):
                raise torch.OutOfMemoryError("CUDA out of memory.")
            self.batch = batch

        def result(self) -> np.ndarray:
            flying.release()
            return first_tokens(self.batch)

    answer = Worker(Lonely, token_budget=1).submit(same, [[at] for at in range(1, 8)]).result(timeout=10)
    assert answer.values.tolist() == [*range(1, 8)]


def test_memory_of_a_failed_pass_is_let_go_before_the_cache_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    class Activations:
        pass

    held: list[weakref.ref[Activations]] = []
    alive_when_emptied: list[bool] = []

    def compute(batch: TokenBatch) -> np.ndarray:
        if len(batch.sequences) > 1:
            activations = Activations()
            held.append(weakref.ref(activations))
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return first_tokens(batch)

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "empty_cache", lambda: alive_when_emptied.append(any(each() is not None for each in held))
    )
    worker = Worker(compute, token_budget=4)
    assert worker.submit(same, [[4], [3], [2], [1]]).result(timeout=10).values.tolist() == [4, 3, 2, 1]
    # Workers of other tests that end meanwhile empty it too.
    assert len(alive_when_emptied) >= 2
    assert not any(alive_when_emptied)


def test_a_device_that_cannot_empty_its_cache_fails_no_other_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", broken)
    worker = Worker(Small(memory=2), token_budget=4)
    assert worker.submit(same, [[4], [3], [2], [1]]).result(timeout=10).values.tolist() == [4, 3, 2, 1]
    assert worker.submit(same, [[5]]).result(timeout=10).values.tolist() == [5]


@pytest.mark.parametrize("late", [False, True], ids=["computing", "collecting"])
def test_an_error_of_any_kind_reaches_the_caller_and_the_worker_goes_on(late: bool) -> None:  # noqa: FBT001 of parametrize
    class Panic(BaseException):
        pass

    def compute(batch: TokenBatch) -> np.ndarray:
        if batch.sequences == [[0]]:
            raise Panic
        return first_tokens(batch)

    card = Card(compute)
    card.may_end.release(10)
    worker = Worker(card if late else compute, token_budget=1)
    with pytest.raises(Panic):
        worker.submit(same, [[0]]).result(timeout=10)
    assert worker.submit(same, [[1]]).result(timeout=10).values.tolist() == [1]


class Odd(list[int]):
    """A sequence whose length can be asked for so often: four times before passes are cut."""

    def __init__(self, asked: int) -> None:
        super().__init__([1])
        self.left = asked

    def __len__(self) -> int:
        self.left -= 1
        if self.left < 0:
            raise ArithmeticError
        return super().__len__()


@pytest.mark.parametrize("asked", range(1, 6))
def test_an_error_outside_a_pass_reaches_the_caller_and_the_worker_goes_on(asked: int) -> None:
    worker = Worker(first_tokens, token_budget=10)
    with pytest.raises(ArithmeticError):
        worker.submit(same, [Odd(asked)]).result(timeout=10)
    assert worker.submit(same, [[2]]).result(timeout=10).values.tolist() == [2]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("dies", ["tokenize", "compute"])
def test_a_worker_whose_thread_has_died_starts_again_on_use(dies: str) -> None:
    may_go = threading.Event()

    def first(texts: Sequence[Any]) -> Tokens:
        assert may_go.wait(timeout=10)
        return same(texts)

    def tokenize(texts: Sequence[Any]) -> Tokens:
        if dies == "tokenize":
            raise ArithmeticError
        return same(texts)

    worker = Worker(first_tokens, token_budget=10)
    worker.submit(first, [[1]])
    # A callback that exits does so in the thread that fails the job; the second one ends the thread.
    for _ in range(2):
        worker.submit(tokenize, [Odd(4)]).add_done_callback(lambda _: sys.exit())
    may_go.set()
    died = next(each for each in worker._threads if dies in each.name)
    died.join(timeout=10)
    assert not died.is_alive()
    assert worker.submit(same, [[2]]).result(timeout=10).values.tolist() == [2]


def test_an_error_shows_the_line_that_raised_it_and_holds_none_of_its_memory() -> None:
    class Activations:
        pass

    held: list[weakref.ref[Activations]] = []

    def compute(_: TokenBatch) -> np.ndarray:
        activations = Activations()
        held.append(weakref.ref(activations))
        raise ValueError("shapes differ")

    with pytest.raises(ValueError, match="shapes differ") as caught:
        Worker(compute, token_budget=10).submit(same, [[1]]).result(timeout=10)
    assert caught.traceback[-1].name == "compute"
    assert [each() for each in held] == [None]


def test_the_error_names_the_position_within_the_call_and_keeps_what_was_done(tiny_bert: Path) -> None:
    with Embedder.local(tiny_bert, dtype="float32", device="cpu") as embedder:
        worker = embedder._engine._windows._worker  # type: ignore[attr-defined]
        compute = worker._compute

        def small(batch: TokenBatch) -> Any:
            if max(map(len, batch.sequences)) > 20:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return compute(batch)

        worker._compute = small
        with pytest.raises(OutOfMemoryError, match="At position 2100, memory ran out") as caught:
            embedder.embed_documents([*["fox"] * 2100, "fox " * 100])
    assert caught.value.completed is not None
    assert np.isfinite(caught.value.completed[:2048]).all()


def test_the_error_is_a_memory_error_and_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(OutOfMemoryError("full", positions=(3,))))  # noqa: S301 our own bytes
    assert isinstance(error, MemoryError)
    assert isinstance(error, QwenEmbedError)
    assert (str(error), error.positions) == ("full", (3,))
