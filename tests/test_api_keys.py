from __future__ import annotations

import pytest

from qwen_embed_integrations.api_keys import read_key
from qwen_embed_integrations.errors import InvalidInputError


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    assert read_key("MY_KEY") == "secret"


def test_without_a_variable_there_is_no_key() -> None:
    assert read_key(None) is None


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_not_set_is_named(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("MY_KEY", value)
    with pytest.raises(InvalidInputError, match="`--api-key-env` names MY_KEY, which is not set"):
        read_key("MY_KEY")
    assert read_key("MY_KEY", must_be_set=False) is None


@pytest.mark.parametrize("key", ["sk-secret", "a;b", ""])
def test_a_key_in_place_of_its_variables_name_is_not_repeated(key: str) -> None:
    with pytest.raises(InvalidInputError, match="takes the name of an environment variable") as caught:
        read_key(key)
    assert "secret" not in str(caught.value)
