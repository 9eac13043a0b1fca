"""`qwen-embed serve` as a process of its own, beside an engine that behaves like SGLang."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import fake_engine

if TYPE_CHECKING:
    from collections.abc import Callable


class Serving:
    """`qwen-embed serve` as a process of its own, with an engine that behaves like SGLang."""

    def __init__(
        self, folder: Path, *arguments: str, engine: bool = True, version: str = "0.5.23", **environment: str
    ) -> None:
        self.pids_file, self.folder = folder / "pids", folder
        self._stderr = folder / "stderr"
        self._stdout = folder / "stdout"
        paths = [str(fake_engine.install(folder / "site", version))] if engine else []
        paths += [str(Path(fake_engine.__file__).parent), os.environ.get("PYTHONPATH", "")]
        inherited = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        inherited.pop("QWEN_EMBED_ENGINE_PYTHON", None)
        inherited["HF_HUB_CACHE"] = str(folder / "no-hub")
        self.process = subprocess.Popen(  # noqa: S603 our own command
            [sys.executable, "-m", "qwen_embed_integrations.cli", "serve", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._stdout.open("w"),
            stderr=self._stderr.open("w"),
            env={
                **inherited,
                "PYTHONPATH": os.pathsep.join(filter(None, paths)),
                "PATH": "/usr/bin:/bin",  # where no engine is
                "CUDA_VISIBLE_DEVICES": "",
                "FAKE_PIDS": str(self.pids_file),
                **environment,
            },
        )

    @property
    def stderr(self) -> str:
        return self._stderr.read_text(encoding="utf-8")

    @property
    def stdout(self) -> str:
        return self._stdout.read_text(encoding="utf-8")

    @property
    def engine_pids(self) -> list[int]:
        """The engine and the two processes it started; none before it runs."""
        if not self.pids_file.exists():
            return []
        return [int(pid) for pid in self.pids_file.read_text(encoding="utf-8").split()]

    def until_ready(self) -> None:
        """Wait until it prints how to connect; how long that may take is for the test's own limit."""
        self._wait(lambda: "check it" in self.stdout)

    def until_stderr_has(self, text: str) -> None:
        """Wait until it, or its engine, says something on stderr."""
        self._wait(lambda: text in self.stderr)

    def until_engine_runs(self) -> None:
        """Wait until the engine has written down its processes."""
        self._wait(lambda: self.pids_file.exists() and self.pids_file.read_text(encoding="utf-8").endswith("\n"))

    def _wait(self, condition: Callable[[], bool]) -> None:
        while not condition():
            assert self.process.poll() is None or condition(), self.stderr
            time.sleep(0.05)

    def ended(self) -> int:
        return self.process.wait()

    def engine_is_gone(self) -> bool:
        """Wait until all processes of the engine are gone."""
        while any(map(_runs, self.engine_pids)):
            time.sleep(0.05)
        return True

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def _runs(pid: int) -> bool:
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607 a number
    return bool(listed.stdout.strip()) and not listed.stdout.startswith("Z")
