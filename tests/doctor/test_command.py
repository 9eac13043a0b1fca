from __future__ import annotations

import io
import json
import math
import re
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

import loopback
from qwen_embed_integrations.doctor.command import doctor
from qwen_embed_integrations.doctor.findings import PAGE, wrong
from qwen_embed_integrations.doctor.report import as_json, print_report

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result


@pytest.fixture
def run() -> Callable[..., Result]:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(doctor)

    def invoke(*words: str) -> Result:
        return CliRunner().invoke(app, ["--no-load", *words])

    return invoke


def test_a_right_server_is_fine(run: Callable[..., Result], start: Callable[..., loopback.Server]) -> None:
    done = run(start().base_url)
    assert done.exit_code == 0
    assert "is fine" in done.stdout
    assert re.search(r"ok eos +The tokenizer ends every text", done.stdout)


def test_warnings_are_status_1(run: Callable[..., Result], start: Callable[..., loopback.Server]) -> None:
    done = run(start(matryoshka=False).base_url)
    assert done.exit_code == 1
    assert "WARNING matryoshka" in done.stdout


def test_what_is_wrong_comes_first_with_a_cause_a_command_and_a_page(
    run: Callable[..., Result], start: Callable[..., loopback.Server]
) -> None:
    done = run(start(kind="vllm", pooling="mean", matryoshka=False).base_url)
    assert done.exit_code == 2
    assert done.stdout.startswith("WRONG pooling  Vectors are pooled from the mean of all tokens")
    assert (
        done.stdout.index("likely cause: ")
        < done.stdout.index("do: qwen-embed serve")
        < done.stdout.index(f"{PAGE}#pooling")
    )
    assert done.stdout.index("WRONG") < done.stdout.index("WARNING") < done.stdout.index(" ok ")


def test_json_holds_all_findings(run: Callable[..., Result], start: Callable[..., loopback.Server]) -> None:
    server = start(appends=None)
    said = json.loads(run(server.base_url, "--json").stdout)
    assert said["status"] == 1
    assert said["url"] == server.base_url
    (eos,) = [finding for finding in said["findings"] if finding["code"] == "eos"]
    assert eos["severity"] == "warning"
    assert eos["page"] == f"{PAGE}#eos"
    assert {finding["severity"] for finding in said["findings"]} >= {"ok", "note", "warning"}


def test_a_port_where_nothing_listens_is_status_2(run: Callable[..., Result]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        done = run(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert done.exit_code == 2
    assert done.stdout.startswith("WRONG unreachable")


def test_a_page_of_html_is_status_2(run: Callable[..., Result]) -> None:
    server = loopback.Server(lambda _: (200, b"<!doctype html><html>Log in</html>", {"content-type": "text/html"}))
    try:
        done = run(server.base_url)
    finally:
        server.close()
    assert done.exit_code == 2
    assert "WRONG bad-reply" in done.stdout


def test_a_loading_server_is_busy(run: Callable[..., Result]) -> None:
    server = loopback.Server(lambda _: (503, {"error": {"message": "Loading model"}}, {}))
    try:
        done = run(server.base_url)
    finally:
        server.close()
    assert done.exit_code == 2
    assert "WRONG busy" in done.stdout


def test_a_url_that_is_none_is_refused_in_one_line(run: Callable[..., Result]) -> None:
    done = run("localhost:30000/v1/embeddings")
    assert done.exit_code == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "`base_url`" in done.stderr


def guarded(key: str) -> Callable[[loopback.Request, loopback.Answer], loopback.Answer]:
    def guard(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        sent = request.headers.get("authorization") or request.headers.get("Authorization")
        return answer if sent == f"Bearer {key}" else (401, {"error": f"Unauthorized: {sent}"}, {})

    return guard


def test_a_missing_key_is_named(run: Callable[..., Result], start: Callable[..., loopback.Server]) -> None:
    done = run(start(guarded("sk-right-key")).base_url)
    assert done.exit_code == 2
    assert done.stdout.count("--api-key-env") == 1
    assert "1 thing wrong" in done.stdout


def test_the_key_comes_from_the_environment_and_shows_nowhere(
    run: Callable[..., Result], start: Callable[..., loopback.Server], monkeypatch: pytest.MonkeyPatch
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


def test_a_key_that_is_not_set_is_refused(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCTORS_KEY", raising=False)
    done = run("http://localhost:1", "--api-key-env", "DOCTORS_KEY")
    assert done.exit_code == 2
    assert "DOCTORS_KEY" in done.stderr


def test_a_server_that_dies_midway_is_a_finding(
    run: Callable[..., Result], start: Callable[..., loopback.Server]
) -> None:
    servers: list[loopback.Server] = []

    def dies(_: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        gone = len(servers[0].posted("/embeddings")) > 3
        return (200, loopback.Cut(), {}) if gone else answer

    servers.append(start(dies))
    done = run(servers[0].base_url)
    assert done.exit_code == 2
    assert "WRONG died" in done.stdout
    assert "Traceback" not in done.output


def test_replies_nobody_understands_are_findings(
    run: Callable[..., Result], start: Callable[..., loopback.Server]
) -> None:
    def garbles(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        status, body, headers = answer
        return (status, [body], headers) if request.path.endswith(("/tokenize", "/models", "_info")) else answer

    done = run(start(garbles).base_url)
    assert done.exit_code in {0, 1}, done.output
    assert "Traceback" not in done.output


def test_the_load_is_measured_at_three_levels(
    examined: Callable[..., dict[str, Any]], start: Callable[..., loopback.Server]
) -> None:
    levels = examined(start(), with_load=True)["load"].details["levels"]
    assert [level["in_flight"] for level in levels] == [1, 8, 32]
    assert all(level["requests_per_second"] > 0 and level["tokens_per_second"] > 0 for level in levels)


def test_refusals_under_load_name_the_bound(
    examined: Callable[..., dict[str, Any]], start: Callable[..., loopback.Server]
) -> None:
    servers: list[loopback.Server] = []

    def full(_: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        return (503, {"message": "The request queue is full."}, {}) if servers[0].in_flight > 4 else answer

    servers.append(start(full))
    finding = examined(servers[0], with_load=True)["busy"]
    assert finding.severity == "warning"
    assert "--max-queued-requests" in finding.cause


def test_a_model_path_on_this_machine_is_offered_as_the_reference(
    examined: Callable[..., dict[str, Any]], start: Callable[..., loopback.Server], tiny_folder: Path
) -> None:
    def names_folder(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        status, body, headers = answer
        return (status, body | {"model_path": str(tiny_folder)}, headers) if request.path == "/model_info" else answer

    assert f"--reference {tiny_folder}" in examined(start(names_folder))["reference"].mend


def test_an_unrelated_web_server_is_not_taken_for_a_model(run: Callable[..., Result]) -> None:
    server = loopback.Server(
        lambda request: (404 if request.method == "GET" else 501, b"<html>Unsupported method</html>", {})
    )
    try:
        done = run(server.base_url)
    finally:
        server.close()
    assert done.exit_code == 2
    assert "Check the URL" in done.stdout
    assert "qwen-embed serve" not in done.stdout
    assert "model-unknown" not in done.stdout


def test_replies_that_break_off_are_one_thing_in_print_and_not_called_unreachable(
    run: Callable[..., Result], start: Callable[..., loopback.Server]
) -> None:
    servers: list[loopback.Server] = []

    def breaks_off(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        hit = request.path.endswith("/embeddings") and len(servers[0].posted("/embeddings")) > 1
        return (200, loopback.Cut(), {}) if hit else answer

    servers.append(start(breaks_off))
    done = run(servers[0].base_url)
    assert done.exit_code == 2
    assert "unreachable" not in done.stdout
    assert done.stdout.count("WRONG no-answer") > 5
    assert done.stdout.count("likely cause: The server or a proxy breaks replies off") == 1
    assert re.search(r"\d things wrong", done.stdout)


def test_a_right_server_that_is_slow_under_load_is_not_wrong(
    examined: Callable[..., dict[str, Any]], start: Callable[..., loopback.Server]
) -> None:
    servers: list[loopback.Server] = []

    def slow(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        if request.path.endswith("/embeddings") and servers[0].in_flight > 4:
            time.sleep(4)
        return answer

    servers.append(start(slow))
    findings = examined(servers[0], with_load=True, timeout=3.0)
    assert findings["no-answer"].severity == "warning"
    assert findings["load"].details["levels"][-1]["lost"] > 0
    assert "wrong" not in {finding.severity for finding in findings.values()}


def test_numbers_that_are_none_leave_the_json_readable() -> None:
    said = as_json("http://x/v1", [wrong("batches", "x", alone=[math.nan, 1.0], cosine=math.inf)])
    found = json.loads(said, parse_constant=pytest.fail)["findings"][0]
    assert found["details"] == {"alone": [None, 1.0], "cosine": None}


def test_prose_is_wrapped_between_words_and_commands_are_not() -> None:
    console = Console(width=80, force_terminal=True, no_color=True, record=True, file=io.StringIO())
    command = "vllm serve " + "x" * 100
    print_report("http://x/v1", [wrong("eos", "Found.", cause="several words " * 20, mend=command)], console)
    lines = console.export_text().splitlines()
    assert f"    do: {command}" in lines
    assert all(len(line) <= 80 for line in lines if "do:" not in line and "see:" not in line)
    assert sum(line.strip().startswith(("several", "words")) for line in lines) >= 4


def test_a_misspelt_model_is_a_warning_with_the_right_name(
    run: Callable[..., Result], start: Callable[..., loopback.Server]
) -> None:
    done = run(start().base_url, "--model", "Qwen/Qwen3-Embeding-0.6B")
    assert done.exit_code == 1
    assert "Did you mean Qwen/Qwen3-Embedding-0.6B" in " ".join(done.stdout.split())
