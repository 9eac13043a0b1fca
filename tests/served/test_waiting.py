"""Waiting: for a result however it ends, or for some time, and without a hold on what is waited for."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

import pytest

from qwen_embed_integrations.served.waiting import wait, wait_in_loop


def running() -> Future[Any]:
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future


def test_a_result_and_an_error_both_end_the_waiting() -> None:
    for end in (lambda future: future.set_result(1), lambda future: future.set_exception(ValueError())):
        future = running()
        end(future)
        assert wait(future, 60)


def test_waiting_can_be_given_up() -> None:
    assert not wait(running(), 0.01)


async def test_waiting_in_a_loop_can_be_given_up_and_the_future_ends_later() -> None:
    future = running()
    await wait_in_loop(future, 0.01)
    assert not future.done()
    future.set_result(None)
    await wait_in_loop(future, 60)


async def test_a_task_that_is_cancelled_while_it_waits_leaves_the_future_running() -> None:
    future = running()
    task = asyncio.ensure_future(wait_in_loop(future, 60))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert future.running()


def test_a_future_that_ends_after_the_loop_troubles_nobody(caplog: pytest.LogCaptureFixture) -> None:
    future = running()
    asyncio.run(wait_in_loop(future, 0.01))
    future.set_result(None)
    assert caplog.text == ""
