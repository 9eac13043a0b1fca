from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING, Any

import pytest
import typer
from typer.testing import CliRunner

import loopback
from qwen_embed_integrations.doctor.command import doctor
from qwen_embed_integrations.doctor.findings import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

    from examinations import Start

    Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    """Run the command."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(doctor)

    def invoke(*words: str) -> Result:
        return CliRunner().invoke(app, ["--no-load", *words])

    return invoke


@pytest.fixture
def run_on(run: Run) -> Callable[[Any], Result]:
    """Run the command on a server that answers everything alike, or by a function."""

    def invoke(answer: Any) -> Result:
        server = loopback.Server(answer if callable(answer) else lambda _: answer)
        try:
            return run(server.base_url)
        finally:
            server.close()

    return invoke


def test_a_right_server_is_fine(run: Run, start: Start) -> None:
    done = run(start().base_url)
    assert done.exit_code == 0
    assert "is fine" in done.stdout
    assert re.search(r"ok eos +The tokenizer ends every text", done.stdout)


def test_warnings_are_status_1(run: Run, start: Start) -> None:
    done = run(start(matryoshka=False).base_url)
    assert done.exit_code == 1
    assert "WARNING matryoshka" in done.stdout


def test_what_is_wrong_comes_first_with_a_cause_a_command_and_a_page(run: Run, start: Start) -> None:
    done = run(start(kind="vllm", pooling="mean", matryoshka=False).base_url)
    assert done.exit_code == 2
    assert done.stdout.startswith("WRONG pooling  Vectors are pooled from the mean of all tokens")
    assert (
        done.stdout.index("likely cause: ")
        < done.stdout.index("do: qwen-embed serve")
        < done.stdout.index(f"{PAGE}#pooling")
    )
    assert done.stdout.index("WRONG") < done.stdout.index("WARNING") < done.stdout.index(" ok ")


def test_json_holds_all_findings(run: Run, start: Start) -> None:
    server = start(appends=None)
    report = json.loads(run(server.base_url, "--json").stdout)
    assert report["status"] == 1
    assert report["url"] == server.base_url
    (eos,) = [finding for finding in report["findings"] if finding["code"] == "eos"]
    assert set(eos) == {"code", "severity", "found", "cause", "mend", "details", "page"}
    assert eos["severity"] == "warning"
    assert eos["page"] == f"{PAGE}#eos"
    assert {finding["severity"] for finding in report["findings"]} >= {"ok", "note", "warning"}


def test_a_port_where_nothing_listens_is_status_2(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        done = run(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert done.exit_code == 2
    assert done.stdout.startswith("WRONG unreachable")


def test_a_page_of_html_is_status_2(run_on: Callable[[Any], Result]) -> None:
    done = run_on((200, b"<!doctype html><html>Log in</html>", {"content-type": "text/html"}))
    assert done.exit_code == 2
    assert "WRONG bad-reply" in done.stdout


def test_a_loading_server_is_busy(run_on: Callable[[Any], Result]) -> None:
    done = run_on((503, {"error": {"message": "Loading model"}}, {"retry-after": "0"}))
    assert done.exit_code == 2
    assert "WRONG busy" in done.stdout


def test_an_unrelated_web_server_is_not_taken_for_a_model(run_on: Callable[[Any], Result]) -> None:
    done = run_on(lambda request: (404 if request.method == "GET" else 501, b"<html>Unsupported method</html>", {}))
    assert done.exit_code == 2
    assert "Check the URL" in done.stdout
    assert "qwen-embed serve" not in done.stdout
    assert "model-unknown" not in done.stdout


def test_a_url_that_is_none_is_refused_in_one_line(run: Run) -> None:
    done = run("localhost:30000/v1/embeddings")
    assert done.exit_code == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "`base_url`" in done.stderr


def test_a_misspelt_model_is_a_warning_with_the_right_name(run: Run, start: Start) -> None:
    done = run(start().base_url, "--model", "Qwen/Qwen3-Embeding-0.6B")
    assert done.exit_code == 1
    assert "Did you mean Qwen/Qwen3-Embedding-0.6B" in " ".join(done.stdout.split())


# --- the key -----------------------------------------------------------------------------------------------------


def guarded(key: str) -> Callable[[loopback.Request, loopback.Answer], loopback.Answer]:
    """Answer only who brings the key, and echo what anyone else brought."""

    def guard(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        sent = request.headers.get("authorization") or request.headers.get("Authorization")
        return answer if sent == f"Bearer {key}" else (401, {"error": f"Unauthorized: {sent}"}, {})

    return guard


def test_a_missing_key_is_named_once(run: Run, start: Start) -> None:
    done = run(start(guarded("sk-right-key")).base_url)
    assert done.exit_code == 2
    assert done.stdout.count("--api-key-env") == 1
    assert "1 thing wrong" in done.stdout


def test_the_key_comes_from_the_environment_and_shows_nowhere(
    run: Run, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCTORS_KEY", "sk-right-key")
    server = start(guarded("sk-right-key"))
    done = run(server.base_url, "--api-key-env", "DOCTORS_KEY", "--json")
    assert done.exit_code == 0
    assert "sk-right-key" not in done.output
    monkeypatch.setenv("DOCTORS_KEY", "sk-wrong-key")
    done = run(server.base_url, "--api-key-env", "DOCTORS_KEY")
    assert done.exit_code == 2
    assert "sk-wrong-key" not in done.output


def test_a_key_that_is_not_set_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCTORS_KEY", raising=False)
    done = run("http://localhost:1", "--api-key-env", "DOCTORS_KEY")
    assert done.exit_code == 2
    assert "DOCTORS_KEY" in done.stderr
