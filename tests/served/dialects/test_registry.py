"""The list of dialects."""

from __future__ import annotations

import json
import pkgutil
from typing import Any, get_args

import pytest

from qwen_embed_integrations.served import dialects
from qwen_embed_integrations.served.dialects import DIALECTS
from qwen_embed_integrations.served.dialects.base import is_since
from qwen_embed_integrations.served.probe import probe
from qwen_embed_integrations.server_info import DialectName, Kind


def test_every_name_has_a_dialect_and_every_dialect_a_name() -> None:
    assert set(DIALECTS) == set(get_args(Kind))
    assert set(get_args(Kind)) - set(get_args(DialectName)) == {"unknown"}


def test_every_module_of_a_dialect_is_in_the_list() -> None:
    modules = {each.name for each in pkgutil.iter_modules(dialects.__path__)} - {"base", "examination"}
    assert modules == set(DIALECTS)


_FIELDS = [
    "architectures",
    "capabilities",
    "data",
    "default_generation_settings",
    "embedding",
    "id",
    "is_generation",
    "max_client_batch_size",
    "max_model_len",
    "max_queued_requests",
    "model_info",
    "model_path",
    "model_type",
    "type",
    "version",
]


@pytest.mark.parametrize("name", get_args(DialectName))
@pytest.mark.parametrize("odd", [None, 3, -1, "x", [], [3], {}, {"x": 3}, True, [{"id": 3, "owned_by": []}]])
def test_no_answer_however_odd_breaks_the_asking(name: DialectName, odd: Any) -> None:
    said = json.dumps(dict.fromkeys(_FIELDS, odd)).encode()
    asking = probe("http://h", model="m", named=DIALECTS[name])
    try:
        next(asking)
        while True:
            asking.send(said)
    except StopIteration as done:
        found = done.value
    assert found.kind == name
    assert found.max_batch in {None, 3}
    assert found.version in {None, "x"}


@pytest.mark.parametrize(
    ("version", "since"),
    [
        (None, True),
        ("0.5.8", True),
        ("0.5.8.post1", True),
        ("0.5.8rc0", True),
        ("0.5.23", True),
        ("0.6", True),
        ("1.0+cpu", True),
        ("v0.5.10", True),
        ("0.5.7", False),
        ("0.5.7.post1", False),
        ("0.5", False),
        ("0.1.dev1+g1234", True),
        ("main", True),
    ],
)
def test_versions_are_compared_by_number_and_unknown_ones_count_as_current(version: str | None, *, since: bool) -> None:
    assert is_since(version, (0, 5, 8)) is since
