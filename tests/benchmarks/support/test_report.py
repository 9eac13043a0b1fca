from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.report import Record, Table

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


@dataclass(frozen=True)
class Row:
    contender: str
    seconds: float


def test_a_row_is_in_the_file_as_soon_as_it_is_added(tmp_path: Path) -> None:
    output = tmp_path / "new" / "figures.json"

    def written() -> Any:
        return json.loads(output.read_text(encoding="utf-8"))

    record = Record("python script.py", ["torch", "no-such-package"], {"seed": 3}, output)
    assert written()["rows"] == []
    record.add(Row("ours", 1.5))
    record.note("a model", parameters=7)
    record.note("a model", missing={})
    assert written()["rows"] == [{"contender": "ours", "seconds": 1.5}]
    assert written()["models"] == {"a model": {"parameters": 7, "missing": {}}}
    assert {"python", "torch"} == set(written()["versions"])
    assert written()["command"] == "python script.py"
    assert written()["hardware"]["cores"] >= 1
    assert written()["settings"] == {"seed": 3}


def test_rows_of_a_table_stand_in_columns(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("Speed", {"contender": 12}, ["tokens/s", "runs"])
    table.row("ours", "1,234", "3")
    assert capsys.readouterr().out.splitlines() == [
        "",
        "Speed",
        "contender     tokens/s    runs",
        "ours             1,234       3",
    ]
