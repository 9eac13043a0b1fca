"""A report of findings: for people, what is wrong first; for machines, all of it."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from qwen_embed_integrations.serving.doctor.findings import SEVERITIES, Finding, Severity, exit_status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

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
    return json.dumps(
        {"url": url, "status": exit_status(findings), "findings": described}, indent=2, ensure_ascii=False
    )


def print_report(url: str, findings: Sequence[Finding], console: Console) -> None:
    """Print what is wrong first, each with its cause and what mends it, and at the end what is right."""
    from rich.text import Text  # noqa: PLC0415 may be missing

    if not console.is_terminal:
        console.width = 1000  # a file has no width

    for severity in SEVERITIES:
        mark, style = _MARKS[severity]
        for finding in findings:
            if finding.severity != severity:
                continue
            if severity == "ok":
                console.print(Text.assemble((f"{mark:>3} ", style), (f"{finding.code:<14}", "bold"), finding.found))
                continue
            console.print(Text.assemble((mark, style), " ", (finding.code, "bold"), "  ", finding.found))
            for label, said in (("likely cause", finding.cause), ("do", finding.mend), ("see", finding.page)):
                lead = f"    {label}: "
                for line in said.splitlines():
                    # A command is copied from here: it must not be broken.
                    console.print(Text.assemble((lead, "dim"), line), soft_wrap=True)
                    lead = " " * len(lead)
            console.print()
    console.print(_verdict(url, findings))


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
    return f"{number} {noun}{'' if number == 1 or noun == 'thing' else 's'}"
