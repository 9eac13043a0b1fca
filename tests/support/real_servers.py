"""Real SGLang and vLLM servers on the CPU: started once for the same arguments, watched, and surely ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import httpx

from ports import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence

Engine = Literal["sglang", "vllm"]
ENGINES: tuple[Engine, ...] = ("sglang", "vllm")

# Vectors of any size on request, as the serving guide advises.
MATRYOSHKA = '{"is_matryoshka": true}'
EMBEDDER_ARGS: dict[Engine, tuple[str, ...]] = {
    "sglang": ("--is-embedding", "--json-model-override-args", MATRYOSHKA),
    "vllm": ("--convert", "embed", "--hf-overrides", MATRYOSHKA),
}
# Qwen3-Reranker is a causal model; vLLM is told to compare two rows of its head.
VLLM_RERANKER = (
    '{"architectures": ["Qwen3ForSequenceClassification"], "classifier_from_token": ["no", "yes"], '
    '"is_original_qwen3_reranker": true}'
)
# The name picks the profile, and vLLM goes by it.
RERANKER = "Qwen/Qwen3-Reranker-0.6B"
RERANKER_ARGS: dict[Engine, tuple[str, ...]] = {
    "sglang": ("--served-model-name", RERANKER),
    "vllm": ("--served-model-name", RERANKER, "--hf-overrides", VLLM_RERANKER),
}

_STARTS_WITHIN = 240.0
_ROUTINE = re.compile(r'" 200|Prefill batch|GET /health|Route: |throughput')
_PYTHONS = {"sglang": "QWEN_EMBED_TEST_SGLANG_PYTHON", "vllm": "QWEN_EMBED_TEST_VLLM_PYTHON"}
_COMMANDS = {
    "sglang": (
        *("-W", "ignore", "-m", "sglang.launch_server", "--device", "cpu", "--attention-backend", "torch_native"),
        *("--disable-cuda-graph", "--dtype", "float32", "--max-total-tokens", "8192"),
        "--sleep-on-idle",  # several servers share two cores
        "--model-path",
    ),
    "vllm": (
        *("-m", "vllm.entrypoints.cli.main", "serve", "--runner", "pooling", "--dtype", "float32", "--enforce-eager"),
        "--model",
    ),
}
_SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "NO_PROXY": "127.0.0.1,localhost",
    "SGLANG_USE_CPU_ENGINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}


def python_of(engine: Engine) -> str:
    """Return the interpreter of the environment that an engine is installed in.

    Raises:
        RuntimeError: If none is named, or what is named is none.
    """
    name = _PYTHONS[engine]
    found = os.environ.get(name, "")
    if not os.access(found, os.X_OK) or not Path(found).is_file():
        raise RuntimeError(
            f"{name} is {found!r}; it must name the Python of an environment with {engine}. "
            "`make test-servers` makes one and runs these tests."
        )
    return str(Path(found).absolute())


def environment() -> dict[str, str]:
    """Return the environment variables a server is started with on a CPU, offline."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    return inherited | _SETTINGS


@dataclass
class RealServer:
    """One server process group; it can be killed and started again on the same port."""

    engine: Engine
    folder: Path
    args: tuple[str, ...]
    log: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def root_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the processes and return at once; `wait` tells when they serve."""
        command = [
            *(python_of(self.engine), *_COMMANDS[self.engine], str(self.folder)),
            *("--host", "127.0.0.1", "--port", str(self.port), *self.args),
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 our own command
                [sys.executable, str(Path(__file__).with_name("leash.py")), *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment(),
            )

    def wait(self, within: float = _STARTS_WITHIN) -> None:
        """Wait until the server is ready.

        Raises:
            RuntimeError: If it ends or is not ready in time, with the end of its log.
        """
        deadline = time.monotonic() + within
        while not self.ready():
            if not self.alive:
                raise RuntimeError(f"{self.engine} ended before it was ready:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.engine} was not ready within {within:.0f} s:\n{self.tail()}")
            time.sleep(0.25)

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.root_url}/health", timeout=10, trust_env=False).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """End every process at once, as a crash does."""
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdin is not None:
                process.stdin.close()

    def tail(self, lines: int = 20) -> str:
        """Return the end of its log, without what it writes of every request that went well."""
        said = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join([line for line in said if not _ROUTINE.search(line)][-lines:])


class RealServers:
    """Starts servers, each distinct one once, and keeps no more than `most` of them running."""

    def __init__(self, logs: Path, *, most: int = 3) -> None:
        self._logs = logs
        self._most = most
        self._all: list[RealServer] = []  # the one used last comes last
        self._shared: dict[tuple[Engine, Path, tuple[str, ...]], RealServer] = {}
        self._failed: dict[tuple[Engine, Path, tuple[str, ...]], RuntimeError] = {}

    def __call__(self, engine: Engine, folder: Path, *args: str) -> str:
        """Return the root URL of a ready server of this model, started with these arguments or already running.

        Args:
            engine: `"sglang"` or `"vllm"`.
            folder: The checkpoint.
            *args: More of the engine's own arguments.
        """
        key = (engine, folder, args)
        if key in self._failed:
            raise self._failed[key]  # it would fail again, and take as long
        server = self._shared.get(key)
        if server is None or not server.alive:
            server = self._shared[key] = self.new(engine, folder, *args)
            server.start()
            try:
                server.wait()
            except RuntimeError as error:
                self._failed[key] = error
                raise
        self._all.remove(server)
        self._all.append(server)
        return server.root_url

    def new(self, engine: Engine, folder: Path, *args: str) -> RealServer:
        """Return a server that is not shared and not started; it is killed with the others."""
        running = self.running()
        for server in running[: max(0, len(running) + 1 - self._most)]:
            server.kill()
        self._all.append(RealServer(engine, folder, args, self._logs / f"{len(self._all)}-{engine}.log"))
        return self._all[-1]

    def running(self) -> Sequence[RealServer]:
        """Return those that run, the one used last at the end."""
        return [server for server in self._all if server.alive]

    def close(self) -> None:
        """Kill them all."""
        for server in self._all:
            server.kill()
