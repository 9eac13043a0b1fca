"""Texts are tokenized ahead of computing, and a query slips in between the pieces of an index build."""

from __future__ import annotations

import threading
import time
import weakref
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from qwen_embed_integrations import Embedder
from qwen_embed_integrations.errors import TextTooLongError
from qwen_embed_integrations.local.scheduler.worker import Worker
from qwen_embed_integrations.local.sequences import TokenBatch, Tokens

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Gate:
    """A tokenizer that gives one token a text, and stops at each call until it may go on."""

    def __init__(self) -> None:
        self.may_go = threading.Semaphore(0)
        self.called = threading.Semaphore(0)
        self.calls: list[int] = []
        self.threads: set[int] = set()

    def __call__(self, texts: Sequence[str]) -> Tokens:
        self.calls.append(len(texts))
        self.threads.add(threading.get_ident())
        self.called.release()
        assert self.may_go.acquire(timeout=10)
        return plain(texts)


def plain(texts: Sequence[str]) -> Tokens:
    return Tokens([[int(text)] for text in texts], [at for at, text in enumerate(texts) if int(text) % 100 == 0])


def first_tokens(batch: TokenBatch) -> np.ndarray:
    return np.array([each[0] for each in batch.sequences], np.float32)


def numbers(count: int, first: int = 1) -> list[str]:
    return [str(at) for at in range(first, first + count)]


def test_texts_are_tokenized_while_others_are_computed() -> None:
    computing, may_end = threading.Event(), threading.Event()

    def compute(batch: TokenBatch) -> np.ndarray:
        computing.set()
        assert may_end.wait(timeout=10)
        return first_tokens(batch)

    worker = Worker(compute, token_budget=1)
    first = worker.submit(plain, ["1"])
    assert computing.wait(timeout=10)
    tokenizer = Gate()
    tokenizer.may_go.release()
    second = worker.submit(tokenizer, ["2"])
    assert tokenizer.called.acquire(timeout=10)
    assert not first.done()
    may_end.set()
    assert second.result(timeout=10).values.tolist() == [2]


def test_one_thread_tokenizes_for_all_callers() -> None:
    tokenizer = Gate()
    tokenizer.may_go.release(100)
    worker = Worker(first_tokens, token_budget=10)
    wait([worker.submit(tokenizer, [str(at)]) for at in range(1, 101)], timeout=10)
    assert len(tokenizer.threads) == 1


def test_the_pieces_of_a_job_make_one_answer() -> None:
    texts = numbers(1000)
    answer = Worker(first_tokens, token_budget=50).submit(plain, texts).result(timeout=10)
    assert answer.values.tolist() == [float(text) for text in texts]
    assert answer.shortened == [99, 199, 299, 399, 499, 599, 699, 799, 899, 999]
    assert answer.tokens == 1000


def test_computing_begins_when_the_first_piece_is_tokenized() -> None:
    tokenizer, computing = Gate(), threading.Event()

    def compute(batch: TokenBatch) -> np.ndarray:
        computing.set()
        return first_tokens(batch)

    future = Worker(compute, token_budget=50).submit(tokenizer, numbers(2000))
    tokenizer.may_go.release()
    assert computing.wait(timeout=10)
    assert not future.done()
    tokenizer.may_go.release(100)
    assert len(future.result(timeout=10).values) == 2000


def test_a_query_is_tokenized_between_the_pieces_of_a_long_job() -> None:
    tokenizer = Gate()
    worker = Worker(first_tokens, token_budget=50)
    long = worker.submit(tokenizer, numbers(2000))
    assert tokenizer.called.acquire(timeout=10)
    query = worker.submit(plain, ["7"])
    tokenizer.may_go.release()
    assert query.result(timeout=10).values.tolist() == [7]
    assert len(tokenizer.calls) <= 2
    tokenizer.may_go.release(100)
    long.result(timeout=10)


def test_long_texts_make_small_pieces() -> None:
    tokenizer = Gate()
    tokenizer.may_go.release(1000)
    texts = ["1" + " " * 60_000] * 40
    Worker(first_tokens, token_budget=50).submit(tokenizer, texts).result(timeout=10)
    assert sum(tokenizer.calls) == 40
    assert max(tokenizer.calls) <= 3


def test_a_cancelled_job_is_tokenized_no_further() -> None:
    tokenizer = Gate()
    worker = Worker(first_tokens, token_budget=50)
    cancelled = worker.submit(tokenizer, numbers(2000))
    assert tokenizer.called.acquire(timeout=10)
    assert cancelled.cancel()
    tokenizer.may_go.release(100)
    worker.submit(plain, numbers(3000)).result(timeout=10)
    assert len(tokenizer.calls) == 1


def test_an_error_in_a_later_piece_reaches_the_caller_and_the_worker_goes_on() -> None:
    def tokenize(texts: Sequence[str]) -> Tokens:
        return Tokens([[int(text)] for text in texts], [])

    worker = Worker(first_tokens, token_budget=50)
    with pytest.raises(ValueError, match="invalid literal"):
        worker.submit(tokenize, [*numbers(1000), "no number"]).result(timeout=10)
    assert worker.submit(tokenize, ["3"]).result(timeout=10).values.tolist() == [3]


def test_all_texts_that_are_too_long_are_named(tiny_bert: Path) -> None:
    texts = ["fox"] * 1000
    texts[3] = texts[900] = "fox " * 300
    with (
        Embedder.local(tiny_bert, device="cpu", long_text="error") as strict,
        pytest.raises(TextTooLongError) as caught,
    ):
        strict.embed_documents(texts)
    assert caught.value.positions == (3, 900)


def test_a_job_that_fails_in_computing_is_tokenized_no_further() -> None:
    tokenizer = Gate()

    def compute(batch: TokenBatch) -> np.ndarray:
        if batch.sequences == [[5]]:
            return first_tokens(batch)
        raise ZeroDivisionError

    worker = Worker(compute, token_budget=50)
    wrong = worker.submit(tokenizer, numbers(2000))
    tokenizer.may_go.release()
    with pytest.raises(ZeroDivisionError):
        wrong.result(timeout=10)
    tokenizer.may_go.release(100)
    worker.submit(plain, ["5"]).result(timeout=10)
    assert len(tokenizer.calls) <= 2


def test_an_idle_worker_holds_no_texts_and_no_vectors() -> None:
    class Text(str):
        __slots__ = ("__weakref__",)

    worker = Worker(first_tokens, token_budget=10)
    texts: list[Any] = [Text(at) for at in range(1, 600)]
    references = [*map(weakref.ref, texts)]
    answer = worker.submit(plain, texts).result(timeout=10)
    vectors = weakref.ref(answer)
    del texts, answer
    deadline = time.monotonic() + 10
    while (vectors() or any(each() for each in references)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert vectors() is None
    assert not any(each() for each in references)


class Panic(BaseException):
    """As a tokenizer written in Rust raises."""


def test_a_panic_of_the_tokenizer_reaches_the_caller_and_the_worker_goes_on() -> None:
    def tokenize(texts: Sequence[str]) -> Tokens:
        if "panic" in texts:
            raise Panic
        return plain(texts)

    worker = Worker(first_tokens, token_budget=10)
    with pytest.raises(Panic):
        worker.submit(tokenize, ["panic"]).result(timeout=10)
    assert worker.submit(tokenize, ["3"]).result(timeout=10).values.tolist() == [3]


def test_a_worker_that_starts_again_tokenizes_one_text_at_a_time() -> None:
    tokenizer, other = Gate(), Gate()
    worker = Worker(first_tokens, token_budget=10)
    worker.submit(tokenizer, ["1"])
    assert tokenizer.called.acquire(timeout=10)
    # The computing thread ends, and the tokenizing one goes on.
    worker._threads[1] = ended = threading.Thread()
    ended.start()
    ended.join()
    second = worker.submit(other, ["2"])
    assert not other.called.acquire(timeout=0.1)
    tokenizer.may_go.release()
    other.may_go.release()
    assert second.result(timeout=10).values.tolist() == [2]
