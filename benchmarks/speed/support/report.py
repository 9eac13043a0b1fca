"""Results: a row is printed, and written to the file of figures, as soon as it is measured."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from support.machine import hardware, threads, versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_NARROWEST = 6


class Table:
    """A table whose rows come one by one.

    Args:
        title: What all rows have in common.
        texts: Headings of columns of text, with their widths; they come first.
        numbers: Headings of columns of numbers.
    """

    def __init__(self, title: str, texts: dict[str, int], numbers: Sequence[str]) -> None:
        self._widths = [*texts.values(), *(max(len(heading), _NARROWEST) for heading in numbers)]
        self._texts = len(texts)
        print(f"\n{title}", flush=True)
        self.row(*texts, *numbers)

    def row(self, *cells: str) -> None:
        """Print a row."""
        aligned = [
            cell.ljust(width) if column < self._texts else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, self._widths, strict=True))
        ]
        print("  ".join(aligned).rstrip(), flush=True)


class Record:
    """What a run measured, with what it ran on.

    Args:
        command: The command line.
        packages: Whose versions matter.
        settings: What holds for all rows.
        output: Where to write it as JSON after each change; None for nowhere.
    """

    def __init__(self, command: str, packages: Iterable[str], settings: dict[str, Any], output: Path | None) -> None:
        self._output = output
        self.content: dict[str, Any] = {
            "command": command,
            "hardware": hardware(),
            "versions": versions(packages),
            "threads": threads(),
            "settings": settings,
            "models": {},
            "rows": [],
        }
        about = (self.content[part] for part in ("hardware", "versions", "threads", "settings"))
        print(*(f"{name} {_shown(value)}" for part in about for name, value in part.items()), sep=", ", flush=True)
        self._write()

    def add(self, row: Any) -> None:
        """Add a row, an object of a dataclass."""
        self.content["rows"].append(asdict(row))
        self._write()

    def note(self, model: str, **facts: Any) -> None:
        """Add what is known of a model beside its rows."""
        self.content["models"].setdefault(model, {}).update(facts)
        self._write()

    def _write(self) -> None:
        if self._output is not None:
            self._output.parent.mkdir(parents=True, exist_ok=True)
            self._output.write_text(json.dumps(self.content, indent=2) + "\n", encoding="utf-8")


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
