"""Callers that come together share forward passes, and short jobs do not wait behind long ones."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from jobs import end_threads, wait_until_tokenized
from qwen_embed_integrations import Embedder
from qwen_embed_integrations.errors import ClosedError, InvalidInputError, ModelOutputError, TextTooLongError
from qwen_embed_integrations.local.scheduler.worker import Worker
from qwen_embed_integrations.local.sequences import Capabilities, TokenBatch, Tokens

if TYPE_CHECKING:
    from pathlib import Path


class Recorder:
    """A model that answers with each sequence's first token, and remembers its passes.

    Args:
        held: Whether each pass waits until it may end.
    """

    def __init__(self, *, held: bool = False) -> None:
        self.held = held
        self.started, self.may_end = threading.Semaphore(0), threading.Semaphore(0)
        self.passes: list[list[list[int]]] = []

    def __call__(self, batch: TokenBatch) -> np.ndarray:
        self.passes.append([list(each) for each in batch.sequences])
        self.started.release()
        if self.held:
            assert self.may_end.acquire(timeout=20)
        return np.array([each[0] for each in batch.sequences], np.float32)


def job(*sequences: list[int]) -> Any:
    return lambda texts: Tokens(list(texts), []), sequences


def test_values_come_back_in_the_order_of_the_texts() -> None:
    worker = Worker(Recorder(), token_budget=4)
    answer = worker.submit(*job([5], [4, 0, 0], [3, 0], [2, 0, 0, 0], [1])).result()
    assert answer.values.tolist() == [5, 4, 3, 2, 1]
    assert answer.tokens == 11


def test_a_pass_stays_within_the_budget_unless_one_text_is_longer() -> None:
    model = Recorder()
    Worker(model, token_budget=4).submit(*job(*[[at] * 2 for at in range(1, 6)], [9] * 7)).result()
    assert sorted(sum(map(len, each)) for each in model.passes) == [2, 4, 4, 7]


def test_padding_counts_where_the_model_pads() -> None:
    model = Recorder()
    Worker(model, token_budget=100, capabilities=Capabilities(padded=True)).submit(*job([9] * 50, *[[1]] * 60)).result()
    assert all(len(each) == 1 or max(map(len, each)) * len(each) <= 100 for each in model.passes)


def test_calls_that_wait_together_are_computed_together() -> None:
    model = Recorder(held=True)
    worker = Worker(model, token_budget=1000)
    first = worker.submit(*job([1]))
    assert model.started.acquire(timeout=20)
    with ThreadPoolExecutor(32) as pool:
        futures = list(pool.map(lambda at: worker.submit(*job([at])), range(2, 33)))
    wait_until_tokenized(worker)
    model.may_end.release(2)
    assert [future.result(timeout=20).values[0] for future in [first, *futures]] == [*range(1, 33)]
    assert len(model.passes) == 2


def test_a_short_job_overtakes_a_long_one() -> None:
    model = Recorder(held=True)
    worker = Worker(model, token_budget=2)
    long = worker.submit(*job(*[[at, at] for at in range(1, 60)]))
    assert model.started.acquire(timeout=20)
    short = worker.submit(*job([100]))
    wait_until_tokenized(worker)
    model.may_end.release(2)
    assert short.result(timeout=20).values.tolist() == [100]
    assert not long.done()
    model.may_end.release(100)
    assert len(long.result(timeout=20).values) == 59


def test_an_error_reaches_the_caller_and_the_worker_goes_on() -> None:
    def compute(batch: TokenBatch) -> np.ndarray:
        if [0] in batch.sequences:
            raise RuntimeError("a kernel failed")
        return np.ones(len(batch.sequences), np.float32)

    worker = Worker(compute, token_budget=10)
    with pytest.raises(RuntimeError, match="a kernel failed"):
        worker.submit(*job([0])).result()
    with pytest.raises(ZeroDivisionError):
        worker.submit(lambda _: 1 / 0, ["x"]).result()  # type: ignore[arg-type,return-value]
    assert worker.submit(*job([1])).result().values.tolist() == [1]


def test_a_cancelled_job_is_not_computed() -> None:
    model = Recorder(held=True)
    worker = Worker(model, token_budget=1)
    first = worker.submit(*job([1]))
    assert model.started.acquire(timeout=20)
    second = worker.submit(*job([2], [3], [4]))
    wait_until_tokenized(worker)
    second.cancel()
    model.may_end.release(10)
    first.result(timeout=20)
    worker.submit(*job([5])).result(timeout=20)
    assert [[2]] not in model.passes


@pytest.mark.parametrize("how", ["closed", "forgotten"])
def test_the_threads_end_with_their_worker(how: str) -> None:
    worker = Worker(Recorder(), token_budget=1)
    worker.submit(*job([1])).result(timeout=20)
    threads = worker._threads
    if how == "closed":
        worker.close()
    del worker
    for thread in threads:
        thread.join(timeout=20)
    assert not any(thread.is_alive() for thread in threads)


def test_threads_that_have_ended_are_started_again_on_use() -> None:
    worker = Worker(Recorder(), token_budget=1)
    for at in range(3):
        assert worker.submit(*job([at])).result(timeout=20).values.tolist() == [at]
        end_threads(worker)


def finalizers() -> int:
    return sum(each.alive for each in list(weakref.finalize._registry))  # type: ignore[attr-defined]


def test_workers_that_start_again_or_are_closed_leave_no_finalizers() -> None:
    before = finalizers()
    workers = [Worker(Recorder(), token_budget=1) for _ in range(5)]
    for worker in workers:
        for _ in range(5):
            worker.submit(*job([1])).result(timeout=20)
            end_threads(worker)
    assert finalizers() <= before + len(workers)
    for worker in workers:
        worker.close()
    assert finalizers() <= before


# --- closing ---------------------------------------------------------------------------------------------------------


def test_a_closed_worker_refuses_jobs_and_says_what_to_do() -> None:
    worker = Worker(Recorder(), token_budget=1)
    worker.submit(*job([1])).result(timeout=20)
    worker.close().result(timeout=20)
    with pytest.raises(ClosedError, match=r"closed.*Load it anew"):
        worker.submit(*job([2]))
    assert worker.close().done()


def test_jobs_in_flight_are_answered_before_the_model_is_freed() -> None:
    model = Recorder(held=True)
    worker = Worker(model, token_budget=1)
    futures = [worker.submit(*job([at])) for at in range(3)]
    assert model.started.acquire(timeout=20)
    freed = worker.close()
    assert not freed.done()
    model.may_end.release(3)
    freed.result(timeout=20)
    assert [future.result(timeout=0).values.tolist() for future in futures] == [[0], [1], [2]]


@pytest.mark.parametrize("use", ["never used", "used", "started again"])
def test_the_model_is_gone_when_it_is_freed(use: str) -> None:
    model = Recorder()
    gone = weakref.ref(model)
    worker = Worker(model, token_budget=10)
    del model
    if use != "never used":
        worker.submit(*job([1])).result(timeout=20)
    if use == "started again":
        end_threads(worker)
        worker.submit(*job([1])).result(timeout=20)
    worker.close().result(timeout=20)
    assert gone() is None


def test_the_model_is_gone_before_the_cache_of_the_gpu_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[bool] = []
    model = Recorder()
    reference = weakref.ref(model)
    worker = Worker(model, token_budget=1)
    del model
    worker.submit(*job([1])).result(timeout=20)

    def empty_cache() -> None:
        if threading.current_thread() is worker._threads[-1]:  # not one of another test's worker that ends meanwhile
            alive.append(reference() is not None)

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", empty_cache)
    worker.close().result(timeout=20)
    assert alive == [False]


def test_every_call_beside_a_close_gets_its_answer_or_a_clear_error() -> None:
    for _ in range(20):
        worker = Worker(Recorder(), token_budget=4)
        together = threading.Barrier(9)

        def call(at: int, worker: Worker = worker, together: threading.Barrier = together) -> float | None:
            together.wait(timeout=20)
            try:
                return float(worker.submit(*job([at])).result(timeout=20).values[0])
            except ClosedError:
                return None

        with ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(call, at) for at in range(8)]
            together.wait(timeout=20)
            worker.close().result(timeout=20)
            assert all(call.result(timeout=20) in (at, None) for at, call in enumerate(calls))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_can_close_what_its_parent_used() -> None:
    worker = Worker(Recorder(), token_budget=1)
    worker.submit(*job([1])).result(timeout=20)
    child = multiprocessing.get_context("fork").Process(target=lambda: worker.close().result(timeout=20))
    child.start()
    child.join(timeout=60)
    assert child.exitcode == 0
    assert worker.submit(*job([2])).result(timeout=20).values.tolist() == [2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_can_close_what_its_parent_was_closing() -> None:
    goes_on = threading.Event()

    def held(batch: TokenBatch) -> np.ndarray:
        goes_on.wait()
        return np.zeros(len(batch.sequences), np.float32)

    worker = Worker(held, token_budget=1)
    answer = worker.submit(*job([1]))
    closing = worker.close()
    child = multiprocessing.get_context("fork").Process(target=lambda: worker.close().result(timeout=20))
    child.start()
    child.join()
    goes_on.set()
    assert child.exitcode == 0
    assert answer.result(timeout=20).values.tolist() == [0]
    closing.result(timeout=20)


# --- models ----------------------------------------------------------------------------------------------------------


def test_threads_and_event_loops_get_the_vectors_of_their_own_texts(tiny_bert: Path) -> None:
    texts = [f"quick fox {at}" for at in range(64)]
    with Embedder.local(tiny_bert, dtype="float32", device="cpu") as shared:
        wanted = shared.embed_documents(texts)
        with ThreadPoolExecutor(64) as pool:
            threads = list(pool.map(lambda text: shared.embed_documents([text])[0], texts))

        async def together() -> list[np.ndarray]:
            return await asyncio.gather(*(shared.aembed_documents([text]) for text in texts))

        first, second = asyncio.run(together()), asyncio.run(together())
    for found in (np.stack(threads), np.concatenate(first), np.concatenate(second)):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def _embed_in_child(shared: Embedder, results: Any) -> None:
    results.put(shared.embed_documents(["quick fox"]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_embeds(tiny_bert: Path) -> None:
    context = multiprocessing.get_context("fork")
    with Embedder.local(tiny_bert, dtype="float32", device="cpu") as shared:
        wanted = shared.embed_documents(["quick fox"])
        results = context.Queue()
        child = context.Process(target=_embed_in_child, args=(shared, results))
        child.start()
        np.testing.assert_allclose(results.get(timeout=60), wanted, atol=1e-6)
        child.join()


def test_vectors_that_are_not_finite_are_an_error_that_names_the_texts(tiny_bert: Path) -> None:
    with Embedder.local(tiny_bert, dtype="float32", device="cpu") as broken:
        worker = broken._engine._windows._worker  # type: ignore[attr-defined]
        compute = worker._compute

        def poisoned(batch: TokenBatch) -> np.ndarray:
            values = compute(batch)
            values[[len(each) > 6 for each in batch.sequences]] = np.nan
            return values

        worker._compute = poisoned
        texts = ["fox", "quick brown fox jumps over the lazy dog", "dog"]
        with pytest.raises(ModelOutputError, match="at position 1") as caught:
            broken.embed_documents(texts)
    assert caught.value.positions == (1,)
    assert caught.value.completed is not None
    assert np.isnan(caught.value.completed).any(axis=1).tolist() == [False, True, False]


def test_the_message_names_the_position_within_the_whole_call(tiny_bert: Path) -> None:
    with (
        Embedder.local(tiny_bert, device="cpu", long_text="error") as strict,
        pytest.raises(TextTooLongError, match="`texts` at position 2100 have up to 302 tokens") as caught,
    ):
        strict.embed_documents([*["fox"] * 2100, "fox " * 300])
    assert caught.value.positions == (2100,)


@pytest.mark.parametrize("ending", ["import atexit; atexit.register(late)\n", ""])
def test_a_process_with_a_local_model_ends_cleanly(tiny_bert: Path, ending: str) -> None:
    code = (
        "def late():\n    try: made.embed_documents(['too late'])\n    except Exception as error: print(error)\n"
        f"{ending}from qwen_embed_integrations import Embedder\n"
        f"def main():\n    global made\n    made = Embedder.local({str(tiny_bert)!r}, device='cpu')\n"
        "    made.embed_documents(['fox'])\nmain()"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)  # noqa: S603 our own code
    assert (done.returncode, done.stderr) == (0, "")
    assert ("interpreter is ending" in done.stdout) == bool(ending)


def test_jobs_that_wait_when_the_process_ends_get_an_error() -> None:
    # A thread of the caller's keeps waiting; `_end_all` runs while one pass computes and three jobs wait tokenized.
    code = """
import threading
import numpy as np
from jobs import wait_until_tokenized
from qwen_embed_integrations.local.scheduler import worker
from qwen_embed_integrations.local.sequences import Tokens
computing = threading.Event()
def compute(batch):
    computing.set()
    assert worker._exiting.wait(60)
    return np.ones(len(batch.sequences), np.float32)
def tokenize(texts):
    return Tokens([[1]] * len(texts), [])
made = worker.Worker(compute, token_budget=1)
futures = [made.submit(tokenize, ["a"])]
computing.wait(60)
futures += [made.submit(tokenize, ["a"]) for _ in range(3)]
wait_until_tokenized(made)
worker._end_all()
print([type(each.exception(timeout=0)).__name__ for each in futures])
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(  # noqa: S603 our own code
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("[")[1] == "'NoneType', 'ModelOutputError', 'ModelOutputError', 'ModelOutputError']\n"


def test_a_text_too_long_is_refused_on_request(tiny_bert: Path) -> None:
    with (
        Embedder.local(tiny_bert, device="cpu", long_text="error") as strict,
        pytest.raises(TextTooLongError) as caught,
    ):
        strict.embed_documents(["fox", "fox " * 300])
    assert caught.value.positions == (1,)


@pytest.mark.parametrize(
    ("settings", "parameter"),
    [
        ({"device": "toaster"}, "device"),
        ({"dtype": "float8"}, "dtype"),
        ({"dtype": "float16", "device": "cpu"}, "dtype"),
        ({"token_budget": 0}, "token_budget"),
        ({"long_text": "split"}, "long_text"),
        ({"dimensions": 49}, "dimensions"),
        ({"dimensions": 0}, "dimensions"),
    ],
)
def test_settings_that_cannot_be_used_are_named(tiny_bert: Path, settings: dict[str, Any], parameter: str) -> None:
    with pytest.raises(InvalidInputError, match=f"`{parameter}`") as caught:
        Embedder.local(tiny_bert, **settings)
    assert caught.value.parameter == parameter
