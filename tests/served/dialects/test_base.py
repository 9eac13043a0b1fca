from __future__ import annotations

from typing import Any

import pytest

from qwen_embed_integrations.served.dialects.base import flag, is_since, text, texts, whole


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


@pytest.mark.parametrize("value", [None, 0, -1, 1.5, "x", "", True, [], {}, [3], [None]])
def test_what_a_server_states_in_another_type_is_not_stated(value: Any) -> None:
    assert whole(value) is None
    assert text(value) == ("x" if value == "x" else None)
    assert texts(value) == ()
    assert flag(value) is (True if value is True else None)


def test_what_a_server_states_is_taken() -> None:
    assert whole(3) == 3
    assert texts(["a", 3, "b"]) == ("a", "b")
    assert flag(False) is False  # noqa: FBT003 the value under test
