from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

import fake_engine
from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.serve.engines.installed import Engine, find_engine, version_numbers

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QWEN_EMBED_ENGINE_PYTHON", raising=False)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(fake_engine.install(tmp_path / "site", "0.5.19.post1")))


@pytest.mark.usefixtures("installed")
def test_the_version_is_read_in_the_interpreter_that_is_named() -> None:
    engine = find_engine("sglang", sys.executable)
    assert engine is not None
    assert (engine.version, engine.python, engine.cpu_kernels) == ("0.5.19.post1", sys.executable, False)
    assert engine.at_least(0, 5, 19)
    assert not engine.at_least(0, 5, 20)


@pytest.mark.usefixtures("installed")
def test_a_variable_may_name_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN_EMBED_ENGINE_PYTHON", sys.executable)
    engine = find_engine("sglang")
    assert engine is not None
    assert engine.version == "0.5.19.post1"


@pytest.mark.usefixtures("installed")
def test_a_script_on_the_path_leads_to_its_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "bin" / "sglang"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=":")
    engine = find_engine("sglang")
    assert engine is not None
    assert engine.python == sys.executable


def test_a_script_that_outlived_its_interpreter_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "sglang"
    script.write_text("#!/no/such/python\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_engine("sglang") is None


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN_EMBED_ENGINE_PYTHON", "/no/such/python")
    with pytest.raises(InvalidInputError, match="`QWEN_EMBED_ENGINE_PYTHON`"):
        find_engine("sglang")


def test_nothing_is_found_where_nothing_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_engine("sglang") is None


def test_an_interpreter_without_the_engine_is_named_with_the_command_that_mends_it() -> None:
    with pytest.raises(InvalidInputError, match=r"has no vLLM\. Run: .* -m pip install vllm"):
        find_engine("vllm", sys.executable)


@pytest.mark.parametrize("named", ["/no/such/python", "/bin/true"])
def test_what_is_no_interpreter_is_said_to_be_none(named: str) -> None:
    with pytest.raises(InvalidInputError, match="`--python`"):
        find_engine("sglang", named)


def test_a_script_beside_the_interpreter_is_run(tmp_path: Path) -> None:
    engine = Engine("sglang", "0.5.23", str(tmp_path / "python"))
    assert engine.program("sglang", "sglang.launch_server") == (
        str(tmp_path / "python"),
        "-m",
        "sglang.launch_server",
    )
    (tmp_path / "sglang").touch(0o755)
    assert engine.program("sglang", "sglang.launch_server") == (str(tmp_path / "sglang"),)


def test_versions_are_compared_by_their_numbers() -> None:
    assert version_numbers("0.5.10") > version_numbers("0.5.9")
    assert version_numbers("0.32.0+cpu") == (0, 32, 0)
    assert version_numbers("0.5.0rc2") == (0, 5, 0)


@pytest.mark.parametrize("version", ["0.1.dev1+g1a2b3c4", "0.0.0.dev0+g1a2b3c4", "0.1.dev12345+gabc.d20260101"])
def test_a_build_without_a_version_is_taken_for_the_newest(version: str) -> None:
    engine = Engine("sglang", version)
    assert engine.unversioned
    assert engine.at_least(0, 5, 23)


def test_a_build_between_two_versions_counts_by_its_numbers() -> None:
    engine = Engine("sglang", "0.5.6.dev3+g1a2b3c4")
    assert not engine.unversioned
    assert not engine.at_least(0, 5, 8)
