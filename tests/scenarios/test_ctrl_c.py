"""Ctrl-C pressed once in the commands that last, at the worst moment and at any."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

import checkpoints
from ports import free_port
from pressing import COMMAND, press_in_destructor
from qwen_embed_integrations import interrupts
from qwen_embed_integrations.doctor.run import examine
from serve_process import Serving

if TYPE_CHECKING:
    from pathlib import Path

    import loopback

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no SIGINT for another process")


def test_an_examination_ends_at_an_interrupt_that_was_dropped(
    server: loopback.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interrupts, "_raise_again_soon", lambda _: None)  # only a check helps
    findings = examine(server.base_url, with_load=False)

    def press_after_the_first_finding() -> None:
        next(findings)
        press_in_destructor()
        list(findings)

    with pytest.raises(KeyboardInterrupt), interrupts.noted(signal.SIGINT):
        press_after_the_first_finding()


def test_the_doctor_ends_without_a_report(server: loopback.Server) -> None:
    command = [*COMMAND, "doctor", server.base_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as doctor:  # noqa: S603

        def press(_: loopback.Request) -> None:
            if len(server.requests) == 1:
                doctor.send_signal(signal.SIGINT)

        server.reply(press)
        assert doctor.communicate() == ("", "")
    assert doctor.returncode == 130


def test_a_second_ctrl_c_ends_serve_at_once_and_its_engine_with_it(tmp_path: Path) -> None:
    model = tmp_path / "Qwen3-Embedding-0.6B"
    checkpoints.write_json(model / "config.json", {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"})
    serving = Serving(tmp_path, str(model), "--device", "cpu", "--port", str(free_port()), FAKE_ENDS_IN="3")
    try:
        serving.until_ready()
        serving.process.send_signal(signal.SIGINT)
        serving.until_stderr_has("is told to end")
        serving.process.send_signal(signal.SIGINT)
        assert serving.ended() == 130
        assert "ended, with all that it started" not in serving.stderr
        assert serving.engine_is_gone()
    finally:
        serving.close()
