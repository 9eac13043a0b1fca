"""The commands in the serving guide, and what they print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from qwen_embed_integrations import cli

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = [
    line.strip()
    for page in sorted(DOCS.glob("*.md"))
    for line in re.findall(r"^\s*qwen-embed serve .*$", page.read_text(encoding="utf-8"), re.MULTILINE)
]


@pytest.fixture(autouse=True)
def nothing_in_the_hubs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are the same, whatever this machine has downloaded."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))


@pytest.mark.parametrize("line", sorted(set(COMMANDS)))
def test_a_command_of_the_guides_gives_a_command_of_an_engine(line: str, tmp_path: Path) -> None:
    words = [word for word in shlex.split(line)[1:] if word != "--dry-run"]
    if "--python" in words:  # an environment that the guide makes
        at = words.index("--python")
        del words[at : at + 2]
    if words[1].startswith("./"):
        (tmp_path / "config.json").write_text('{"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"}')
        words[1] = str(tmp_path)
    words.insert(2, "--dry-run")
    result = CliRunner().invoke(cli.build_app(), words)
    assert result.exit_code == 0, result.output
    assert "serve" in result.stdout


def test_the_dry_run_in_the_guide_is_what_is_printed() -> None:
    page = (DOCS / "serving.md").read_text(encoding="utf-8")
    shown = re.findall(r"```text\n(.*?)```", page, re.DOTALL)[0]
    result = CliRunner().invoke(cli.build_app(), ["serve", "Qwen/Qwen3-Embedding-0.6B", "--dry-run"])
    for line in [line for line in shown.splitlines() if line.startswith("# ")]:
        assert line.partition(":")[0] in result.stderr
    command = " ".join(line for line in shown.splitlines() if not line.startswith("#"))
    assert {word for word in shlex.split(command) if word.startswith("--")} == {
        word for word in shlex.split(result.stdout) if word.startswith("--")
    }


def test_every_option_of_the_command_stands_in_the_guide_or_speaks_for_itself() -> None:
    command: Any = typer.main.get_command(cli.build_app())
    known = {
        option for parameter in command.commands["serve"].params for option in parameter.opts if option.startswith("--")
    }
    page = (DOCS / "serving.md").read_text(encoding="utf-8")
    plain = {"--dtype", "--revision", "--served-model-name", "--timeout", "--log"}
    assert {option for option in known if f"`{option}" not in page and f" {option}" not in page} == plain
