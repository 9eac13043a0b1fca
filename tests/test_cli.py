from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from importlib.metadata import entry_points, version
from typing import Any

import pytest
from typer.testing import CliRunner

from pressing import press_in_destructor
from qwen_embed_integrations import cli
from qwen_embed_integrations.errors import ServerConnectionError
from qwen_embed_integrations.profiles import PROFILES, ModelProfile

NAMES = [profile.name for profile in PROFILES]


def run(*arguments: str, columns: int | None = None) -> str:
    environment = {"COLUMNS": None if columns is None else str(columns), "FORCE_COLOR": None}
    result = CliRunner().invoke(cli.build_app(), arguments, env=environment)
    assert result.exit_code == 0, result.output
    return result.stdout


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
    return subprocess.run(  # noqa: S603 our own code
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, env=environment
    )


@pytest.mark.parametrize("columns", [None, 100])
def test_models_lists_every_profile_by_its_whole_name(columns: int | None) -> None:
    lines = run("models", columns=columns).splitlines()
    for name in NAMES:
        assert len([line for line in lines if line.split(" ")[0] == name]) == 1


def test_models_gives_each_profile_one_line_in_a_file() -> None:
    lines = [line for line in run("models").splitlines() if line.strip()]
    assert len(lines) == len(PROFILES) + 2 * 4 + 1  # two tables of title, header in two lines and rule; the hint


def test_models_says_what_a_model_gives() -> None:
    rows = {line.split(" ")[0]: re.split(r"\s{2,}", line.strip()) for line in run("models").splitlines() if line}
    assert rows["Qwen/Qwen3-Embedding-0.6B"][1:] == ["32 to 1024", "32768", "yes", "596M", "Apache-2.0"]
    assert rows["jinaai/jina-embeddings-v2-base-en"][1:] == ["768", "8192", "no", "137M", "Apache-2.0"]
    assert rows["text-embedding-v4"][1:] == ["1024 or 64, 128, 256, 512, 768, 1536, 2048", "8192", "no", "-", "-"]
    assert rows["mixedbread-ai/mxbai-rerank-large-v2"][1:] == ["8192", "yes", "1.5B", "Apache-2.0"]


def test_models_tells_what_embeds_from_what_reranks() -> None:
    embedding, _, reranking = run("models").partition("Rerankers")
    assert "Embedding models" in embedding
    for profile in PROFILES:
        assert profile.name in (embedding if isinstance(profile, ModelProfile) else reranking)


@pytest.mark.parametrize("columns", [80, 60])
def test_models_folds_names_on_a_narrow_terminal_and_loses_nothing(columns: int) -> None:
    output = run("models", columns=columns)
    assert max(map(len, output.splitlines())) <= columns
    assert "…" not in output
    names = "".join(line.split(" ")[0] for line in output.splitlines())
    for name in NAMES:
        assert name in names


def test_models_prints_everything_as_json() -> None:
    listed = json.loads(run("models", "--json"))
    assert [each["name"] for each in listed] == NAMES
    by_name: dict[str, dict[str, Any]] = {each["name"]: each for each in listed}
    qwen = by_name["Qwen/Qwen3-Embedding-0.6B"]
    assert qwen["kind"] == "embedding"
    assert qwen["query_prefix"] == "Instruct: {instruction}\nQuery:"
    assert qwen["takes_instruction"] is True
    assert by_name["text-embedding-v4"]["listed_dimensions"] == [64, 128, 256, 512, 768, 1024, 1536, 2048]
    assert by_name["Qwen/Qwen3-Reranker-8B"]["kind"] == "reranker"
    assert by_name["Qwen/Qwen3-Reranker-8B"]["max_tokens"] == 8192
    assert all(each["sources"] for each in listed)


def test_json_is_not_folded_on_a_narrow_terminal() -> None:
    assert run("models", "--json", columns=40) == run("models", "--json")


def test_version_is_printed() -> None:
    assert run("--version") == f"qwen-embed {version('qwen-embed-integrations')}\n"


def test_help_names_the_commands() -> None:
    output = run("--help")
    assert "models" in output
    assert "bench" in output
    assert "serve" in output


def test_a_wrong_option_is_a_usage_error() -> None:
    result = CliRunner().invoke(cli.build_app(), ["models", "--wrong"])
    assert result.exit_code == 2
    assert "--wrong" in result.stderr


def test_an_error_is_one_line_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ServerConnectionError("`base_url` http://localhost:1/v1 refused the connection.\nStart the server.")

    monkeypatch.setattr(cli, "_print_tables", fail)
    monkeypatch.setattr(sys, "argv", ["qwen-embed", "models"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    assert capsys.readouterr() == (
        "",
        "qwen-embed: `base_url` http://localhost:1/v1 refused the connection. Start the server.\n",
    )


def test_an_interrupt_that_was_dropped_is_the_status_of_an_interrupted_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "_print_tables", press_in_destructor)
    monkeypatch.setattr(sys, "argv", ["qwen-embed", "models"])
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 130
    assert capsys.readouterr() == ("", "")
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(os.name == "nt", reason="a shell's background commands ignore Ctrl-C")
def test_a_command_that_was_started_deaf_to_ctrl_c_stays_so() -> None:
    result = run_python(
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from qwen_embed_integrations import cli\n"
        "cli._print_tables = lambda: signal.raise_signal(signal.SIGINT)\n"
        "cli.main()",
        "models",
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_the_installed_command_is_main() -> None:
    (script,) = entry_points(group="console_scripts", name="qwen-embed")
    assert script.load() is cli.main


def test_listing_models_in_a_process_of_its_own_loads_no_framework() -> None:
    heavy = ["torch", "transformers", "openai", "chromadb", "langchain_core", "llama_index"]
    result = run_python(
        "import atexit, sys\n"
        f"atexit.register(lambda: print([name for name in {heavy} if name in sys.modules], file=sys.stderr))\n"
        "from qwen_embed_integrations.cli import main\n"
        "main()",
        "models",
    )
    assert result.returncode == 0
    assert "Qwen/Qwen3-Embedding-0.6B" in result.stdout
    assert result.stderr == "[]\n"


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_a_missing_extra_is_one_line_with_the_pip_command(missing: str) -> None:
    result = run_python(
        f"import sys\nsys.modules[{missing!r}] = None\nfrom qwen_embed_integrations.cli import main\nmain()", "models"
    )
    assert result.returncode == 1
    assert result.stderr == (
        f"qwen-embed: `{missing}` is not installed. Run: pip install 'qwen-embed-integrations[cli]'\n"
    )


def test_serve_needs_no_more_than_the_cli_extra() -> None:
    blocked = ("torch", "transformers", "chromadb", "langchain_core", "llama_index", "scipy", "jinja2", "matplotlib")
    result = run_python(
        f"import sys\nfor name in {blocked!r}: sys.modules[name] = None\n"
        "from qwen_embed_integrations.cli import main\nmain()",
        "serve",
        "Qwen/Qwen3-Embedding-0.6B",
        "--dry-run",
    )
    assert result.returncode == 0, result.stderr
    assert "--is-embedding" in result.stdout
