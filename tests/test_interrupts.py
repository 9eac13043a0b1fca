from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from pressing import press_in_destructor
from qwen_embed_integrations import interrupts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIGINT, SIGTERM = signal.SIGINT, signal.SIGTERM


def work_on() -> None:
    while True:
        time.sleep(0.01)


def error_of(work: Callable[[], object], *signals: int) -> BaseException | None:
    """Do work in a block, and return what the block raises."""
    try:
        with interrupts.noted(*signals or (SIGINT,)):
            work()
    except BaseException as error:  # noqa: BLE001 a KeyboardInterrupt is expected
        return error
    return None


@pytest.fixture(autouse=True)
def handlers_are_put_back() -> Iterator[None]:
    before = signal.getsignal(SIGINT), signal.getsignal(SIGTERM), sys.unraisablehook
    yield
    assert (signal.getsignal(SIGINT), signal.getsignal(SIGTERM), sys.unraisablehook) == before


def test_importing_the_module_installs_nothing() -> None:
    code = (
        "import signal, sys; before = signal.getsignal(signal.SIGINT), sys.unraisablehook;"
        "import qwen_embed_integrations.interrupts;"
        "assert (signal.getsignal(signal.SIGINT), sys.unraisablehook) == before"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603 our own code


def test_ctrl_c_is_raised_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), interrupts.noted(SIGINT):
        signal.raise_signal(SIGINT)


def test_another_signal_is_an_exit_with_the_status_of_a_shell() -> None:
    with pytest.raises(SystemExit) as caught, interrupts.noted(SIGTERM):
        signal.raise_signal(SIGTERM)
    assert caught.value.code == 143


@pytest.mark.parametrize(("number", "kind"), [(SIGINT, KeyboardInterrupt), (SIGTERM, SystemExit)])
def test_what_a_destructor_dropped_is_raised_by_the_next_check(number: int, kind: type[BaseException]) -> None:
    steps = []

    def work() -> None:
        press_in_destructor(number)
        steps.append("the destructor is left")
        interrupts.check()
        steps.append("the check is passed")

    assert isinstance(error_of(work, number), kind)
    assert steps == ["the destructor is left"]


def test_what_was_dropped_is_raised_again_without_a_check() -> None:
    def work() -> None:
        press_in_destructor()
        work_on()

    assert isinstance(error_of(work), KeyboardInterrupt)


def test_what_is_dropped_again_and_again_is_raised_in_the_end() -> None:
    class Lasts:
        def __del__(self) -> None:
            work_on()

    def work() -> None:
        press_in_destructor()
        Lasts()
        Lasts()
        work_on()

    assert isinstance(error_of(work), KeyboardInterrupt)


def test_what_was_dropped_last_is_raised_at_the_end_of_the_block() -> None:
    with pytest.raises(KeyboardInterrupt), interrupts.noted(SIGINT):
        press_in_destructor()


def test_what_was_dropped_takes_the_place_of_another_error() -> None:
    def work() -> None:
        press_in_destructor()
        raise SystemExit(0)

    assert isinstance(error_of(work), KeyboardInterrupt)


def test_an_interrupt_that_was_swallowed_is_raised_by_the_next_check() -> None:
    def work() -> None:
        with suppress(BaseException):  # as some libraries do
            signal.raise_signal(SIGINT)
        interrupts.check()
        raise AssertionError("the check is passed")

    assert isinstance(error_of(work), KeyboardInterrupt)


def test_nothing_is_said_of_a_dropped_interrupt_and_of_other_errors_all(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: kinds.append(unraisable.exc_type))

    class Fails:
        def __del__(self) -> None:
            raise ValueError

    def work() -> None:
        Fails()
        press_in_destructor()
        Fails()

    assert isinstance(error_of(work), KeyboardInterrupt)
    assert kinds == [ValueError, ValueError]


def test_cleanup_on_the_way_out_may_check_and_wait() -> None:
    steps = []

    def work() -> None:
        try:
            signal.raise_signal(SIGINT)
        finally:
            interrupts.check()
            with ThreadPoolExecutor(1) as pool:
                steps.append(interrupts.wait(pool.submit(lambda: "cleaned up")))

    assert isinstance(error_of(work), KeyboardInterrupt)
    assert steps == ["cleaned up"]


def test_an_exit_that_an_interrupt_was_turned_into_is_left_alone() -> None:
    def work() -> None:
        try:
            signal.raise_signal(SIGINT)
        except KeyboardInterrupt:
            raise SystemExit(7) from None

    error = error_of(work)
    assert isinstance(error, SystemExit)
    assert error.code == 7


def test_an_inner_block_may_note_more() -> None:
    def work() -> None:
        with interrupts.noted(SIGINT, SIGTERM):
            press_in_destructor(SIGTERM)
        raise AssertionError("not raised at the end of the inner block")

    assert isinstance(error_of(work), SystemExit)


def test_what_was_dropped_in_an_inner_block_is_not_raised_again_behind_it() -> None:
    left_over: list[bool] = []

    def work() -> None:
        try:
            with interrupts.noted(SIGTERM):
                press_in_destructor(SIGTERM)
        finally:
            time.sleep(0.2)  # longer than until it would be raised again
            left_over.append(interrupts._state.raising_again)

    assert isinstance(error_of(work), SystemExit)
    assert left_over == [False]  # else the next signal would be taken for this one


def test_what_one_block_noted_does_not_reach_the_next() -> None:
    assert isinstance(error_of(press_in_destructor), KeyboardInterrupt)  # and would be raised again in a moment
    assert error_of(lambda: time.sleep(0.2)) is None


def test_other_threads_are_not_interrupted() -> None:
    def work() -> None:
        press_in_destructor()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(interrupts.check).result()
        raise AssertionError("nothing is raised here")

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(error_of, lambda: signal.getsignal(SIGINT)).result() is None
    assert isinstance(error_of(work), KeyboardInterrupt)


def test_another_thread_installs_nothing() -> None:
    def handler() -> Any:
        with interrupts.noted(SIGINT):
            return signal.getsignal(SIGINT)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(handler).result() == signal.getsignal(SIGINT)


def test_without_a_block_a_check_passes_and_a_wait_waits() -> None:
    interrupts.check()
    with ThreadPoolExecutor(1) as pool:
        assert interrupts.wait(pool.submit(lambda: 3)) == 3


def test_a_wait_gives_the_result_or_the_error_of_the_future() -> None:
    def fail() -> None:
        raise TimeoutError("the server took too long")

    def slow() -> str:
        time.sleep(2.5 * interrupts._SLICE)
        return "slow"

    with interrupts.noted(SIGINT), ThreadPoolExecutor(1) as pool:
        assert interrupts.wait(pool.submit(slow)) == "slow"
        with pytest.raises(TimeoutError, match="the server took too long"):
            interrupts.wait(pool.submit(fail))


def test_a_wait_ends_when_an_interrupt_was_dropped_before_it() -> None:
    def work() -> None:
        press_in_destructor()
        interrupts.wait(Future())

    assert isinstance(error_of(work), KeyboardInterrupt)


def test_a_wait_ends_when_an_interrupt_is_noted_during_it_and_raised_nowhere() -> None:
    def work() -> None:
        # As where code in C clears the error that the handler raised.
        threading.Timer(0.3, setattr, (interrupts._state, "noted", interrupts._Signal(SIGINT))).start()
        interrupts.wait(Future())

    assert isinstance(error_of(work), KeyboardInterrupt)


def test_signals_that_are_ignored_can_be_left_so() -> None:
    before = signal.signal(SIGINT, signal.default_int_handler), signal.signal(SIGTERM, signal.SIG_IGN)
    try:
        assert interrupts.not_ignored(SIGINT, SIGTERM) == (SIGINT,)
    finally:
        for number, handler in zip((SIGINT, SIGTERM), before, strict=True):
            signal.signal(number, handler)


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for another process")
def test_a_second_ctrl_c_ends_the_process_at_once() -> None:
    code = """
import signal, time
from qwen_embed_integrations import interrupts
with interrupts.noted(signal.SIGINT):
    try:
        print("ready", flush=True)
        time.sleep(600)
    finally:
        print("cleaning up", flush=True)
        time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:  # noqa: S603
        assert child.stdout is not None
        for line in ("ready\n", "cleaning up\n"):
            assert child.stdout.readline() == line
            child.send_signal(SIGINT)
        assert child.wait() == 130
