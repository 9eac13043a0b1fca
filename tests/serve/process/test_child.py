from __future__ import annotations

import io
import os
import sys
import time

import pytest

from qwen_embed_integrations.serve.process.child import Child, Output, environment_with_plain_output

pytestmark = pytest.mark.skipif(os.name == "nt", reason="engines run on Linux")


def start(code: str, lines: io.StringIO, *secrets: str, label: str = "") -> Child:
    argv = [sys.executable, "-c", code]
    return Child(label, argv, environment_with_plain_output(os.environ), Output(lines, secrets), grace=600)


def wait_for(child: Child) -> int:
    while child.status is None:
        time.sleep(0.01)
    return child.status


def test_lines_are_marked_and_show_no_secret() -> None:
    lines = io.StringIO()
    child = start("print('key: hush')", lines, "hush", "", label="1")
    assert wait_for(child) == 0
    child.wait()
    assert lines.getvalue() == "[1] key: ***\n"
    assert child.tail == ["key: ***"]


def test_the_status_of_a_child_that_a_signal_ended_is_that_of_a_shell() -> None:
    child = start("import os; os.kill(os.getpid(), 9)", io.StringIO())
    assert wait_for(child) == 137
    child.wait()


def test_a_child_that_is_told_to_end_is_gone() -> None:
    lines = io.StringIO()
    child = start("print('up'); import time; time.sleep(600)", lines)
    while "up" not in lines.getvalue():
        time.sleep(0.01)
    assert child.status is None
    child.ask_to_end()
    child.wait()
    assert child.status == 143


def test_a_stream_that_is_gone_does_not_end_the_child() -> None:
    lines = io.StringIO()
    lines.close()
    child = start("print('up')", lines)
    assert wait_for(child) == 0
    child.wait()


@pytest.mark.parametrize(("inherited", "value"), [({}, "1"), ({"PYTHONUNBUFFERED": "0"}, "0")])
def test_python_programs_write_their_lines_at_once(
    inherited: dict[str, str], value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    for name, content in inherited.items():
        monkeypatch.setenv(name, content)
    assert environment_with_plain_output({"A": "b"}) == {"A": "b", "PYTHONUNBUFFERED": value}
