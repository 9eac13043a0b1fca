"""Passes are computed side by side on a CPU, each on cores of its own, and nobody else notices."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import checkpoints
from jobs import wait_until_tokenized
from qwen_embed_integrations import Embedder, Reranker
from qwen_embed_integrations.errors import OutOfMemoryError
from qwen_embed_integrations.local.scheduler import batching, cpu_lanes
from qwen_embed_integrations.local.scheduler.cpu_lanes import Lanes
from qwen_embed_integrations.local.scheduler.worker import Worker
from qwen_embed_integrations.local.sequences import Capabilities, TokenBatch, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

CORES = 4
SIDE_BY_SIDE = Capabilities(side_by_side=True)


@pytest.fixture(autouse=True)
def cores() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(CORES)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_MIN_PASS", 2)


def first_tokens(batch: TokenBatch) -> np.ndarray:
    return np.array([each[0] for each in batch.sequences], np.float32)


def same(texts: Sequence[Any]) -> Tokens:
    return Tokens(list(texts), [])


class Model:
    """Answers with first tokens, and remembers which threads computed how much, and how many at once.

    Args:
        before: Called before each pass.
        together: How many first passes wait for each other.
    """

    def __init__(self, before: Callable[[Sequence[list[int]]], None] = lambda _: None, together: int = 0) -> None:
        self.before = before
        self.threads: set[str] = set()
        self.sizes: list[int] = []
        self.most = self._now = 0
        self._meeting = threading.Barrier(max(together, 1))
        self._together = together
        self._lock = threading.Lock()

    def __call__(self, batch: TokenBatch) -> np.ndarray:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            self.threads.add(threading.current_thread().name)
            self.sizes.append(sum(map(len, batch.sequences)))
            is_first = len(self.sizes) <= self._together
        try:
            if is_first:
                self._meeting.wait(timeout=20)
            self.before(batch.sequences)
        finally:
            with self._lock:
                self._now -= 1
        return first_tokens(batch)


def still_alive(before: set[threading.Thread]) -> list[threading.Thread]:
    """Return which of the threads started since do not end."""
    started = [each for each in threading.enumerate() if each not in before]
    deadline = time.monotonic() + 20
    for each in started:
        each.join(max(0, deadline - time.monotonic()))
    return [each for each in started if each.is_alive()]


# --- lanes alone ---------------------------------------------------------------------------------------------------


def test_as_many_passes_run_at_once_as_torch_has_threads() -> None:
    meeting = threading.Barrier(CORES)

    def compute(batch: TokenBatch) -> np.ndarray:
        meeting.wait(timeout=10)
        return first_tokens(batch)

    made = Lanes(compute, on_finished=lambda: None)
    futures = [made.launch(TokenBatch([[at]])) for at in range(CORES)]
    assert [future.result(timeout=10).tolist() for future in futures] == [[0], [1], [2], [3]]
    made.close()


@pytest.mark.parametrize(("most", "shares"), [(8, [1, 1, 1, 1]), (2, [2, 2]), (3, [1, 1, 2])])
def test_lanes_share_the_cores_and_leave_all_other_threads_theirs(
    most: int, shares: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_lanes, "_MAX_LANES", most)
    meeting = threading.Barrier(len(shares))

    def compute(_: TokenBatch) -> np.ndarray:
        meeting.wait(timeout=10)
        return np.array([torch.get_num_threads()])

    made = Lanes(compute, on_finished=lambda: None)
    futures = [made.launch(TokenBatch([[1]])) for _ in shares]
    assert sorted(future.result(timeout=10).item() for future in futures) == shares
    assert made.count == len(shares)
    found: list[int] = []
    other = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert [*found, torch.get_num_threads()] == [CORES, CORES]
    made.close()


def test_an_error_is_that_passs_alone_and_its_end_is_told() -> None:
    finished = threading.Semaphore(0)

    def compute(batch: TokenBatch) -> np.ndarray:
        if batch.sequences == [[0]]:
            raise SystemExit
        return first_tokens(batch)

    made = Lanes(compute, finished.release)
    wrong: Future[Any] = made.launch(TokenBatch([[0]]))
    assert isinstance(wrong.exception(timeout=10), SystemExit)
    assert made.launch(TokenBatch([[5]])).result(timeout=10).tolist() == [5]
    assert all(finished.acquire(timeout=10) for _ in range(2))
    made.close()


def test_lanes_that_cannot_start_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(threading.enumerate())
    start = threading.Thread.start
    left = iter(range(2))

    def few(thread: threading.Thread) -> None:
        if thread.name.startswith("qwen-embed-lane") and next(left, None) is None:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", few)
    made = Lanes(first_tokens, on_finished=lambda: None)
    with pytest.raises(RuntimeError, match="can't start"):
        made.launch(TokenBatch([[1]]))
    assert still_alive(before) == []
    assert torch.get_num_threads() == CORES
    monkeypatch.undo()
    assert made.launch(TokenBatch([[1]])).result(timeout=10).tolist() == [1]
    made.close()


def test_lanes_end_after_what_was_handed_in() -> None:
    before = set(threading.enumerate())
    model = Model()
    made = Lanes(model, on_finished=lambda: None)
    futures = [made.launch(TokenBatch([[at]])) for at in range(20)]
    made.close()
    assert [future.result(timeout=10)[0] for future in futures] == [*range(20)]
    assert still_alive(before) == []


# --- a worker with lanes -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_parts")
def test_values_come_back_in_order_from_all_lanes() -> None:
    model = Model(together=CORES)
    worker = Worker(model, token_budget=20, capabilities=SIDE_BY_SIDE)
    sequences = [[at] * (at % 9 + 1) for at in range(1, 301)]
    assert worker.submit(same, sequences).result(timeout=20).values.tolist() == [*range(1, 301)]
    assert model.most == CORES
    assert max(model.sizes) <= 20
    assert {f"qwen-embed-lane-{at}" for at in range(CORES)} <= model.threads
    worker.close()


@pytest.mark.usefixtures("small_parts")
def test_the_last_passes_are_small_so_that_lanes_end_together() -> None:
    model = Model()
    Worker(model, token_budget=100, capabilities=SIDE_BY_SIDE).submit(same, [[1]] * 1000).result(timeout=20)
    assert max(model.sizes) > 50
    # In no order that can be seen: a lane may have taken a pass and not begun it.
    assert max(sorted(model.sizes)[:CORES]) <= 10


@pytest.mark.usefixtures("small_parts")
def test_without_threads_for_lanes_all_is_computed_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(_: Lanes) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Lanes, "_start", none)
    model = Model()
    worker = Worker(model, token_budget=20, capabilities=SIDE_BY_SIDE)
    assert worker.submit(same, [[at] for at in range(300)]).result(timeout=20).values.tolist() == [*range(300)]
    assert model.threads == {"qwen-embed-compute"}
    assert caplog.messages == ["No passes side by side: can't start new thread"]


@pytest.mark.usefixtures("small_parts")
def test_a_sequence_larger_than_the_budget_has_all_cores_to_itself() -> None:
    model = Model()
    at_once: list[int] = []
    model.before = lambda sequences: at_once.append(model._now) if [9] * 50 in sequences else None
    worker = Worker(model, token_budget=20, capabilities=SIDE_BY_SIDE)
    sequences = [[9] * 50, *[[1] * 4] * 200, [9] * 50]
    assert worker.submit(same, sequences).result(timeout=20).values.tolist() == [9, *[1] * 200, 9]
    assert at_once == [1, 1]
    assert "qwen-embed-compute" in model.threads


@pytest.mark.parametrize("sequences", [[[1]], [[1]] * 300, [[1] * 900, [2] * 100]], ids=["one", "few", "one long"])
def test_what_would_not_fill_the_lanes_has_all_cores(sequences: list[list[int]]) -> None:
    model = Model()
    Worker(model, token_budget=1000, capabilities=SIDE_BY_SIDE).submit(same, sequences).result(timeout=10)
    assert model.threads == {"qwen-embed-compute"}


def test_a_model_that_may_not_has_no_lanes() -> None:
    model = Model()
    Worker(model, token_budget=1000).submit(same, [[1]] * 5000).result(timeout=10)
    assert model.threads == {"qwen-embed-compute"}


@pytest.mark.usefixtures("small_parts")
def test_a_query_takes_the_first_lane_that_is_free() -> None:
    may_end = threading.Semaphore(0)

    def hold(sequences: Sequence[list[int]]) -> None:
        if sequences != [[9]]:
            assert may_end.acquire(timeout=20)

    worker = Worker(Model(hold), token_budget=4, capabilities=SIDE_BY_SIDE)
    long = worker.submit(same, [[1] * 4] * 400)
    query = worker.submit(same, [[9]])
    wait_until_tokenized(worker)
    may_end.release(2 * CORES)
    assert query.result(timeout=20).values.tolist() == [9]
    assert not long.done()
    may_end.release(400)
    assert long.result(timeout=20).values.tolist() == [1] * 400


@pytest.mark.usefixtures("small_parts")
def test_a_query_is_launched_while_another_lane_still_computes() -> None:
    held, may_end = threading.Event(), threading.Event()

    def hold(sequences: Sequence[list[int]]) -> None:
        if [7, 7, 7] in sequences:
            held.set()
            assert may_end.wait(timeout=10)

    worker = Worker(Model(hold), token_budget=3, capabilities=SIDE_BY_SIDE)
    long = worker.submit(same, [[7, 7, 7], *[[8, 8]] * 9])
    assert held.wait(timeout=10)
    assert worker.submit(same, [[9]]).result(timeout=10).values.tolist() == [9]
    assert not long.done()
    may_end.set()
    assert long.result(timeout=10).values.tolist() == [7, *[8] * 9]


@pytest.mark.usefixtures("small_parts")
def test_an_error_fails_the_jobs_of_its_pass_only() -> None:
    def fail(sequences: Sequence[list[int]]) -> None:
        if any(0 in each for each in sequences):
            raise ZeroDivisionError

    worker = Worker(Model(fail), token_budget=4, capabilities=SIDE_BY_SIDE)
    right = worker.submit(same, [[5] * 4] * 40)
    wrong = worker.submit(same, [[0] * 4] * 40)
    with pytest.raises(ZeroDivisionError):
        wrong.result(timeout=10)
    assert right.result(timeout=10).values.tolist() == [5] * 40


@pytest.mark.usefixtures("small_parts")
def test_where_memory_runs_out_side_by_side_passes_become_smaller_and_nothing_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def exhaust(sequences: Sequence[list[int]]) -> None:
        if sum(map(len, sequences)) > 30:
            raise MemoryError

    model = Model(exhaust)
    worker = Worker(model, token_budget=100, capabilities=SIDE_BY_SIDE)
    answer = worker.submit(same, [[at] * (at % 7 + 1) for at in range(1, 1001)]).result(timeout=20)
    assert answer.values.tolist() == [*range(1, 1001)]
    # Halved once for all lanes that failed together, and then once more.
    assert worker._budget.tokens in range(20, 26)
    assert len(caplog.messages) == 2


@pytest.mark.usefixtures("small_parts")
def test_a_sequence_too_large_for_memory_is_tried_alone_and_fails_its_own_job_only() -> None:
    tried: list[int] = []

    def exhaust(sequences: Sequence[list[int]]) -> None:
        if [9] * 31 in sequences:
            tried.append(len(sequences))
            raise MemoryError

    worker = Worker(Model(exhaust), token_budget=8, capabilities=SIDE_BY_SIDE)
    right = worker.submit(same, [[5] * 4] * 400)
    wrong = worker.submit(same, [[9] * 31])
    with pytest.raises(OutOfMemoryError):
        wrong.result(timeout=10)
    assert right.result(timeout=20).values.tolist() == [5] * 400
    assert tried == [1]  # it is larger than the budget, so it was alone from the beginning


@pytest.mark.usefixtures("small_parts")
def test_a_closed_worker_ends_its_lanes_after_its_jobs() -> None:
    before = set(threading.enumerate())
    worker = Worker(Model(), token_budget=4, capabilities=SIDE_BY_SIDE)
    future = worker.submit(same, [[1] * 4] * 100)
    worker.close()
    assert future.result(timeout=20).values.tolist() == [1] * 100
    assert still_alive(before) == []


@pytest.mark.usefixtures("small_parts")
def test_a_closed_workers_lanes_let_the_model_go() -> None:
    model = Model(together=CORES)
    gone = weakref.ref(model)
    worker = Worker(model, token_budget=4, capabilities=SIDE_BY_SIDE)
    del model
    worker.submit(same, [[1] * 4] * 100).result(timeout=20)
    worker.close().result(timeout=20)
    assert gone() is None


# --- models --------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::qwen_embed_integrations.errors.LongTextWarning")
@pytest.mark.parametrize("make", ["tiny_qwen3", "tiny_bert"])
def test_vectors_are_those_of_passes_in_turn(make: str, request: pytest.FixtureRequest, texts: list[str]) -> None:
    folder: Path = request.getfixturevalue(make)
    many = [f"{text} {at}" for at in range(8) for text in texts]
    with Embedder.local(folder, dtype="float32", device="cpu", token_budget=300) as apart:
        found = [apart.embed_documents(many), apart.embed_queries(many)]
        assert any(thread.name == "qwen-embed-lane-3" for thread in threading.enumerate())
    torch.set_num_threads(1)
    with Embedder.local(folder, dtype="float32", device="cpu", token_budget=300) as in_turn:
        wanted = [in_turn.embed_documents(many), in_turn.embed_queries(many)]
    for some, others in zip(found, wanted, strict=True):
        np.testing.assert_allclose(some, others, atol=2e-6)


def test_scores_are_those_of_passes_in_turn(tiny_reranker: Path) -> None:
    documents = [f"the quick brown fox {at} " * (at % 7 + 1) for at in range(200)]
    found = []
    for threads in (CORES, 1):
        torch.set_num_threads(threads)
        with Reranker.local(tiny_reranker, dtype="float32", device="cpu") as reranker:
            ranked = reranker.rerank("Where is the fox?", documents)
        found.append([each.score for each in sorted(ranked, key=lambda each: each.index)])
    np.testing.assert_allclose(found[0], found[1], atol=2e-6)


def test_a_padded_model_has_no_lanes(tmp_path: Path) -> None:
    with Embedder.local(checkpoints.distilbert_embedding(tmp_path / "tiny"), device="cpu") as embedder:
        embedder.embed_documents(["the quick brown fox"] * 300)
        assert not embedder._engine._windows._worker._capabilities.side_by_side  # type: ignore[attr-defined]


LOADED = """
import os, sys, threading, time
import torch
torch.set_num_threads(4)
from qwen_embed_integrations import Embedder
made = Embedder.local(sys.argv[1], device="cpu")
texts = ["the quick brown fox " * 10] * 20_000
def lanes():
    return sum(each.name.startswith("qwen-embed-lane") for each in threading.enumerate())
"""
ENDING = f"""{LOADED}
threading.Thread(target=made.embed_documents, args=(texts,), daemon=True).start()
while lanes() < 4:
    time.sleep(0.01)
"""
FORKING = f"""{LOADED}
made.embed_documents(texts[:200])
print(lanes(), flush=True)
if pid := os.fork():
    print("ends with", os.waitpid(pid, 0)[1])
else:
    print(made.embed_documents(texts[:200]).shape, lanes(), flush=True)
    os._exit(0)
"""


def test_a_process_ends_cleanly_while_lanes_compute(tiny_bert: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", ENDING, str(tiny_bert)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)  # noqa: S603 our own code
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_lanes_of_its_own(tiny_bert: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORKING, str(tiny_bert)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)  # noqa: S603 our own code
    assert done.stdout == "4\n(200, 48) 4\nends with 0\n", done.stderr
