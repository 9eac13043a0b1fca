from __future__ import annotations

import pytest

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.inputs import check_texts


def test_texts_are_returned_as_they_were_given() -> None:
    texts = [" a ", "b\n", "\U0001f600"]
    assert check_texts(iter(texts), parameter="texts") == texts


def test_many_wrong_positions_are_counted_rather_than_listed() -> None:
    with pytest.raises(InvalidInputError, match="positions 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 15 more") as caught:
        check_texts([""] * 25, parameter="texts")
    assert caught.value.positions == tuple(range(25))
