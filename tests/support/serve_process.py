"""`qwen-embed serve` as a process of its own, beside an engine that behaves like SGLang."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import fake_engine


class Serving:
    """`qwen-embed serve` as a process of its own, with an engine that behaves like SGLang."""

    def __init__(
        self, folder: Path, *arguments: str, engine: bool = True, version: str = "0.5.23", **environment: str
    ) -> None:
        self.pids_file, self.folder = folder / "pids", folder
        self.errors = folder / "stderr"
        self.output = folder / "stdout"
        support = Path(fake_engine.__file__).parent
        paths = [str(fake_engine.install(folder / "site", version))] if engine else []
        inherited = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        inherited.pop("QWEN_EMBED_ENGINE_PYTHON", None)
        inherited["HF_HUB_CACHE"] = str(folder / "no-hub")
        self.process = subprocess.Popen(  # noqa: S603 our own command
            [sys.executable, "-m", "qwen_embed_integrations.cli", "serve", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self.output.open("w"),
            stderr=self.errors.open("w"),
            env={
                **inherited,
                "PYTHONPATH": os.pathsep.join([*paths, str(support)]),
                "PATH": "/usr/bin:/bin",  # where no engine is
                "CUDA_VISIBLE_DEVICES": "",
                "FAKE_PIDS": str(self.pids_file),
                **environment,
            },
        )

    @property
    def said(self) -> str:
        return self.errors.read_text(encoding="utf-8")

    @property
    def printed(self) -> str:
        return self.output.read_text(encoding="utf-8")

    @property
    def engine_pids(self) -> list[int]:
        """The engine and the two processes it started."""
        return [int(pid) for pid in self.pids_file.read_text(encoding="utf-8").split()]

    def until_ready(self) -> None:
        deadline = time.monotonic() + 60
        while "check it" not in self.printed:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.1)

    def ended(self) -> int:
        return self.process.wait(timeout=60)

    def nothing_is_left(self, within: float = 10.0) -> bool:
        deadline = time.monotonic() + within
        while left := [pid for pid in self.engine_pids if _runs(pid)]:
            if time.monotonic() > deadline:
                return not left
            time.sleep(0.1)
        return True

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def _runs(pid: int) -> bool:
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607 a number
    return bool(listed.stdout.strip()) and not listed.stdout.startswith("Z")
