"""The files at the root agree with each other: the Makefile, its callers, and what pages tell people to run."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted(set((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")) - {ROOT / ".github/ISSUE_TEMPLATE/config.yml"})
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").glob("*.md")]


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps(workflow: Path) -> list[dict[str, Any]]:
    return [step for job in read(workflow)["jobs"].values() for step in job["steps"]]


def test_help_lists_every_target() -> None:
    listed = set(re.findall(r"^([a-z][a-z-]*):.*## ", MAKEFILE, re.MULTILINE))
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert listed == TARGETS == set(phony.split())


def test_pre_commit_runs_the_checks_of_make_lint() -> None:
    lint = re.findall(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)[0]
    checks = {line.strip().replace("$(BIN)", ".venv/bin") for line in lint.splitlines()}
    (repository,) = read(ROOT / ".pre-commit-config.yaml")["repos"]
    hooks = {hook["entry"].replace(" --force-exclude", "") for hook in repository["hooks"]}
    # It writes what it finds, as pre-commit's users expect; `make lint` only tells.
    assert hooks == {check.replace("ruff format --check", "ruff format") for check in checks}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_targets_that_exist(workflow: Path) -> None:
    called = {
        target for step in steps(workflow) for target in re.findall(r"^make (\S+)$", step.get("run", ""), re.MULTILINE)
    }
    assert called <= TARGETS
    assert called


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_do_no_more_than_it_must(workflow: Path) -> None:
    content = read(workflow)
    assert content["permissions"] == {"contents": "read"}
    granted = [job["permissions"] for job in content["jobs"].values() if "permissions" in job]
    assert granted in ([], [{"id-token": "write"}])
    assert all(
        re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+)", step["uses"]) for step in steps(workflow) if "uses" in step
    )


def test_each_python_that_is_promised_is_tested() -> None:
    classifiers = importlib.metadata.metadata("qwen-embed-integrations").get_all("Classifier") or []
    promised = {found[1] for each in classifiers if (found := re.fullmatch(r".*:: (3\.\d+)", each))}
    matrix = read(ROOT / ".github/workflows/test.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert set(matrix) == promised


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_each_field_of_a_form_has_a_name_of_its_own(form: Path) -> None:
    fields = [field for field in read(form)["body"] if field["type"] != "markdown"]
    assert (
        len({field["id"] for field in fields}) == len({field["attributes"]["label"] for field in fields}) == len(fields)
    )
    assert any(field.get("validations", {}).get("required") for field in fields)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_target_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`make ([a-z][a-z-]*)`|^make ([a-z][a-z-]*)(?: +#.*)?$", text, re.MULTILINE)
    assert {target for pair in named for target in pair if target} <= TARGETS
