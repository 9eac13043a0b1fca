from __future__ import annotations

import io
import json
import math
import re

import pytest
from rich.console import Console

from qwen_embed_integrations.doctor.findings import PAGE, Finding, note, ok, warning, wrong
from qwen_embed_integrations.doctor.report import as_json, print_report

URL = "http://x/v1"


def printed(*findings: Finding, width: int = 120) -> str:
    console = Console(width=width, force_terminal=True, no_color=True, record=True, file=io.StringIO())
    print_report(URL, findings, console)
    return console.export_text()


def test_numbers_that_are_none_leave_the_json_readable() -> None:
    report = as_json(URL, [wrong("batches", "x", alone=[math.nan, 1.0], cosine=math.inf)])
    finding = json.loads(report, parse_constant=pytest.fail)["findings"][0]
    assert finding["details"] == {"alone": [None, 1.0], "cosine": None}


def test_only_what_is_not_right_has_a_page() -> None:
    findings = json.loads(as_json(URL, [ok("eos", "Right."), note("pooling", "Unknown.")]))["findings"]
    assert "page" not in findings[0]
    assert findings[1]["page"] == f"{PAGE}#pooling"


def test_the_worst_comes_first_and_what_is_right_last() -> None:
    text = printed(ok("a", "Right."), note("b", "Unknown."), warning("c", "Odd."), wrong("d", "Bad."))
    assert re.findall(r"Right|Unknown|Odd|Bad", text) == ["Bad", "Odd", "Unknown", "Right"]
    assert f"{URL} is not right: 1 thing wrong, 1 warning." in text


def test_findings_with_one_cause_and_one_remedy_are_told_together() -> None:
    alike = [wrong("no-answer", f"Check {number}.", cause="A proxy.", mend="Ask the server.") for number in range(3)]
    text = printed(*alike, wrong("no-answer", "Check 3.", cause="Another."))
    assert text.count("WRONG no-answer") == 4
    assert text.count("likely cause: A proxy.") == 1
    assert text.count("do: Ask the server.") == 1
    assert "4 things wrong" in text


def test_prose_is_wrapped_between_words_and_commands_are_not() -> None:
    command = "vllm serve " + "x" * 100
    lines = printed(wrong("eos", "Found.", cause="several words " * 20, mend=command), width=80).splitlines()
    assert f"    do: {command}" in lines
    assert all(len(line) <= 80 for line in lines if "do:" not in line and "see:" not in line)
    assert sum(line.strip().startswith(("several", "words")) for line in lines) >= 4
