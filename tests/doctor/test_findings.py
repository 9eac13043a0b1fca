from __future__ import annotations

import ast
import re
from pathlib import Path

from qwen_embed_integrations import doctor
from qwen_embed_integrations.doctor.findings import PAGE, exit_status, note, ok, warning, wrong

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
ANCHORS = re.findall(r"^### .*\{#([\w-]+)\}$", TEXT, re.MULTILINE)


def codes() -> set[str]:
    """Return the codes of everything that may be said to be wrong, or worth knowing."""
    used = set()
    for file in Path(doctor.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = {name.id for name in ast.walk(node.func) if isinstance(name, ast.Name)}
            first = node.args[0]
            if called & {"wrong", "warning", "note", "severity"}:
                options = (first.body, first.orelse) if isinstance(first, ast.IfExp) else (first,)
                used |= {option.value for option in options if isinstance(option, ast.Constant)}
    return used


def test_every_finding_has_its_place_on_the_page_and_no_other_has() -> None:
    assert len(codes()) > 30
    assert codes() == set(ANCHORS)


def test_no_place_on_the_page_is_there_twice() -> None:
    assert len(ANCHORS) == len(set(ANCHORS))


def test_the_page_that_findings_link_to_is_that_of_the_site() -> None:
    (site,) = re.findall(r"^site_url: (\S+)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert f"{site}troubleshooting/" == PAGE
    assert wrong("eos", "x").page == f"{PAGE}#eos"


def test_the_worst_finding_is_the_status() -> None:
    assert exit_status([]) == exit_status([ok("a", "x"), note("b", "x")]) == 0
    assert exit_status([ok("a", "x"), warning("b", "x")]) == 1
    assert exit_status([wrong("a", "x"), warning("b", "x")]) == 2
