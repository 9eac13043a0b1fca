"""A report of findings: for people, what is wrong first; for machines, all of it."""

from __future__ import annotations

import dataclasses
import json
import math
import textwrap
from typing import TYPE_CHECKING, Any

from qwen_embed_integrations.doctor.findings import SEVERITIES, Finding, Severity, exit_status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.text import Text

_MARKS: dict[Severity, tuple[str, str]] = {
    "wrong": ("WRONG", "bold red"),
    "warning": ("WARNING", "bold yellow"),
    "note": ("NOTE", "bold cyan"),
    "ok": ("ok", "green"),
}


def as_json(url: str, findings: Sequence[Finding]) -> str:
    """Return all findings as one JSON object."""
    described: list[dict[str, Any]] = [
        {**dataclasses.asdict(finding), **({} if finding.severity == "ok" else {"page": finding.page})}
        for finding in findings
    ]
    report = {"url": url, "status": exit_status(findings), "findings": _finite(described)}
    return json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    """Return a value without NaN and infinities, which JSON cannot hold."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_report(url: str, findings: Sequence[Finding], console: Console) -> None:
    """Print what is wrong first, each with its cause and what mends it, and at the end what is right."""
    from rich.text import Text  # noqa: PLC0415 may be missing

    if not console.is_terminal:
        console.width = 1000  # a file has no width

    for severity in SEVERITIES:
        mark, style = _MARKS[severity]
        for alike in _grouped(findings, severity):
            finding = alike[0]
            if severity == "ok":
                console.print(_indented(f"{mark:>3} {finding.code:<14}", finding.found, console.width, style))
                continue
            for found in dict.fromkeys(finding.found for finding in alike):
                console.print(Text.assemble((mark, style), " ", (finding.code, "bold"), "  ", found))
            if finding.cause:
                console.print(_indented("    likely cause: ", finding.cause, console.width, "dim"))
            for label, text in (("do", finding.mend), ("see", finding.page)):
                lead = f"    {label}: "
                for line in text.splitlines():
                    # A command is copied from here: it must not be broken.
                    console.print(Text.assemble((lead, "dim"), line), soft_wrap=True)
                    lead = " " * len(lead)
            console.print()
    console.print(_verdict(url, findings))


def _grouped(findings: Sequence[Finding], severity: Severity) -> list[list[Finding]]:
    """Return findings of one severity, those with one cause and cure together: a broken reply breaks many checks."""
    groups: dict[object, list[Finding]] = {}
    for position, finding in enumerate(findings):
        if finding.severity == severity:
            key = (finding.code, finding.cause, finding.mend) if severity != "ok" else position
            groups.setdefault(key, []).append(finding)
    return list(groups.values())


def _indented(lead: str, text: str, width: int, style: str) -> Text:
    from rich.text import Text  # noqa: PLC0415 may be missing

    lines = textwrap.wrap(text, max(20, width - len(lead)), break_on_hyphens=False) or [""]
    return Text.assemble((lead, style), f"\n{' ' * len(lead)}".join(lines))


def _verdict(url: str, findings: Sequence[Finding]) -> str:
    counts = {severity: sum(finding.severity == severity for finding in findings) for severity in SEVERITIES}
    if counts["wrong"]:
        return (
            f"\n{url} is not right: {_count(counts['wrong'], 'thing')} wrong, {_count(counts['warning'], 'warning')}."
        )
    if counts["warning"]:
        return f"\n{url} works, with {_count(counts['warning'], 'warning')}."
    return f"\n{url} is fine: {counts['ok']} checks passed, {_count(counts['note'], 'note')}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
