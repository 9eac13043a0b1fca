from __future__ import annotations

import ast
import re
from pathlib import Path

from qwen_embed_integrations import doctor
from qwen_embed_integrations.doctor.data.golden import SCORES, VECTORS
from qwen_embed_integrations.doctor.findings import PAGE
from qwen_embed_integrations.profiles import ModelProfile, RerankProfile, profile_for

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
ANCHORS = re.findall(r"^### .*\{#([\w-]+)\}$", TEXT, re.MULTILINE)


def codes() -> set[str]:
    """Codes of everything that may be said to be wrong, or worth knowing."""
    found = set()
    for file in Path(doctor.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = {each.id for each in ast.walk(node.func) if isinstance(each, ast.Name)}
            first = node.args[0]
            if called & {"wrong", "warning", "note", "severity"}:
                options = (first.body, first.orelse) if isinstance(first, ast.IfExp) else (first,)
                found |= {each.value for each in options if isinstance(each, ast.Constant)}
    return found


def test_every_finding_has_its_place_on_the_page_and_no_other_has() -> None:
    assert len(codes()) > 30
    assert codes() == set(ANCHORS)


def test_no_place_on_the_page_is_there_twice() -> None:
    assert len(ANCHORS) == len(set(ANCHORS))


def test_the_page_that_findings_link_to_is_that_of_the_site() -> None:
    (site,) = re.findall(r"^site_url: (\S+)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert f"{site}troubleshooting/" == PAGE


def test_published_numbers_are_those_of_known_models_and_fit_their_texts() -> None:
    for name, goldens in VECTORS.items():
        assert isinstance(profile_for(name), ModelProfile)
        for golden in goldens:
            assert [len(row) for row in golden.cosines] == [len(golden.documents)] * len(golden.queries)
    for name, scores in SCORES.items():
        assert isinstance(profile_for(name), RerankProfile)
        assert len(scores.scores) == len(scores.documents)
        assert all(0 < score < 1 for score in scores.scores)
