"""Where an engine is installed, and which version."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qwen_embed_integrations.errors import InvalidInputError

EngineName = Literal["sglang", "vllm"]

TITLES: dict[EngineName, str] = {"sglang": "SGLang", "vllm": "vLLM"}
NEWEST: dict[EngineName, str] = {"sglang": "0.5.23", "vllm": "0.32.0"}
"""The newest versions that the commands were tried with."""
PYTHON_VARIABLE = "QWEN_EMBED_ENGINE_PYTHON"

_UNVERSIONED = re.compile(r"0\.[01](\.0)?\.dev")

# Reads the metadata: importing an engine takes ten seconds.
_METADATA_SCRIPT = """
import importlib.metadata as m, importlib.util as u, json, sys
name = sys.argv[1]
def version():
    try:
        return m.version(name)
    except m.PackageNotFoundError:
        return m.version(m.packages_distributions()[name][0])
found = u.find_spec(name) is not None
kernels = any((d.metadata["Name"] or "").endswith("kernel-cpu") for d in m.distributions()) if found else False
router = u.find_spec("sglang_router") is not None
print(json.dumps({"version": version() if found else None, "cpu_kernels": kernels, "router": router}))
"""


@dataclass(frozen=True)
class Engine:
    """An engine to write a command for.

    Attributes:
        name: `"sglang"` or `"vllm"`.
        version: As its metadata says.
        python: Interpreter that has it; None where it is not installed.
        cpu_kernels: Whether SGLang's compiled kernels for CPUs are there.
        router: Command that starts sglang-router; empty where it is not installed.
    """

    name: EngineName
    version: str
    python: str | None = None
    cpu_kernels: bool = False
    router: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Name and version, for people."""
        return f"{TITLES[self.name]} {self.version}"

    @property
    def unversioned(self) -> bool:
        """Whether it was built from source without tags, which gives 0.1.dev1+g<commit> whatever it is."""
        return _UNVERSIONED.match(self.version) is not None

    def at_least(self, *version: int) -> bool:
        """Whether it is of this version or newer; a build that has no version is taken for the newest."""
        return version_numbers(NEWEST[self.name] if self.unversioned else self.version) >= version

    def program(self, script: str, *module: str) -> tuple[str, ...]:
        """Return how it is started.

        Args:
            script: Name of its console script.
            module: What to run with the interpreter where there is no script.

        Returns:
            The script, bare where the shell finds it by its name, or interpreter and module.
        """
        if self.python is None:
            return (script,)
        beside = Path(self.python).with_name(script)
        if not os.access(beside, os.X_OK):
            return (self.python, "-m", *module)
        return (script,) if shutil.which(script) == str(beside) else (str(beside),)


def version_numbers(version: str) -> tuple[int, ...]:
    """Return the numbers a version begins with."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def find_engine(name: EngineName, python: str | None = None) -> Engine | None:
    """Look for an engine.

    Args:
        name: `"sglang"` or `"vllm"`.
        python: Interpreter to look in; None for the one the environment names, this one, and what is on the PATH.

    Returns:
        The engine, or None if it is not installed.

    Raises:
        InvalidInputError: If `python` is no interpreter, or has no such engine.
    """
    named = python or os.environ.get(PYTHON_VARIABLE)
    if named:
        named_by = "`--python`" if python else f"`{PYTHON_VARIABLE}`"
        engine = _read_metadata(named, name, named_by)
        if engine is None:
            raise InvalidInputError(
                f"{named_by} {named} has no {TITLES[name]}. Run: {named} -m pip install {name}", parameter="python"
            )
        return engine
    for candidate in (_this_interpreter(name), _interpreter_of(name)):
        with suppress(InvalidInputError):  # a script may outlive its interpreter; nobody named it
            if candidate is not None and (engine := _read_metadata(candidate, name)) is not None:
                return engine
    return None


def _this_interpreter(name: str) -> str | None:
    return sys.executable if importlib.util.find_spec(name) is not None else None


def _interpreter_of(script: str) -> str | None:
    """Return the interpreter that a script on the PATH runs with."""
    path = shutil.which(script)
    if path is None:
        return None
    try:
        with Path(path).open("rb") as file:
            first = file.readline(1000).decode("utf-8", "replace").strip()
    except OSError:
        return None
    words = first.removeprefix("#!").split()
    return words[0] if first.startswith("#!") and words and Path(words[0]).name.startswith("python") else None


def _read_metadata(python: str, name: EngineName, named_by: str = "interpreter") -> Engine | None:
    try:
        done = subprocess.run(  # noqa: S603 the interpreter that the caller or the PATH names
            [python, "-W", "ignore", "-c", _METADATA_SCRIPT, name],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InvalidInputError(f"{named_by} {python} does not run: {error}", parameter="python") from error
    try:
        known = json.loads(done.stdout)
    except ValueError:
        last_line = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise InvalidInputError(
            f"{named_by} {python} is no Python that could be asked for {TITLES[name]}: it said {last_line!r}.",
            parameter="python",
        ) from None
    if known["version"] is None:
        return None
    router: tuple[str, ...] = (python, "-m", "sglang_router.launch_router") if known["router"] else ()
    return Engine(name, known["version"], python, known["cpu_kernels"], router or _router_on_path())


def _router_on_path() -> tuple[str, ...]:
    if importlib.util.find_spec("sglang_router") is not None:
        return (sys.executable, "-m", "sglang_router.launch_router")
    python = _interpreter_of("sglang-router")
    return (python, "-m", "sglang_router.launch_router") if python else ()
