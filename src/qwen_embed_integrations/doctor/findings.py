"""What an examination finds, and how bad it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Severity = Literal["wrong", "warning", "note", "ok"]
# From worst to best: the order of a report.
SEVERITIES: tuple[Severity, ...] = ("wrong", "warning", "note", "ok")

PAGE = "https://qwen-embed-integrations.readthedocs.io/troubleshooting/"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        code: Stable name; also the heading of the troubleshooting page that explains it.
        severity: `"wrong"` (vectors or scores are not what the model's authors meant, or there are none),
            `"warning"` (works here, but not as it should or not for every client), `"note"` (worth knowing, or could
            not be judged) or `"ok"`.
        found: What was seen, with numbers.
        cause: What most likely lies behind it.
        mend: What to run or change.
        details: More numbers, for machines.
    """

    code: str
    severity: Severity
    found: str
    cause: str = ""
    mend: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def page(self) -> str:
        """Where it is explained."""
        return f"{PAGE}#{self.code}"


def ok(code: str, found: str, **details: Any) -> Finding:
    """Return what was looked at and is right."""
    return Finding(code, "ok", found, details=details)


def note(code: str, found: str, *, cause: str = "", mend: str = "", **details: Any) -> Finding:
    """Return what is worth knowing, or could not be judged."""
    return Finding(code, "note", found, cause, mend, details)


def warning(code: str, found: str, *, cause: str = "", mend: str = "", **details: Any) -> Finding:
    """Return what is not as it should be, though it may do."""
    return Finding(code, "warning", found, cause, mend, details)


def wrong(code: str, found: str, *, cause: str = "", mend: str = "", **details: Any) -> Finding:
    """Return what makes vectors or scores wrong, or keeps them from coming."""
    return Finding(code, "wrong", found, cause, mend, details)


def exit_status(findings: Iterable[Finding]) -> int:
    """Return 2 if something is wrong, 1 if there are warnings, else 0."""
    severities = {finding.severity for finding in findings}
    return 2 if "wrong" in severities else 1 if "warning" in severities else 0
