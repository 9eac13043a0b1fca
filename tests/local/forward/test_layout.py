"""A layout tells where sequences lie behind a shared prefix, and what each of them reads."""

from __future__ import annotations

import pytest
import torch

from qwen_embed_integrations.local.forward.layout import Layout

CPU = torch.device("cpu")


def test_sequences_lie_one_behind_the_other() -> None:
    layout = Layout([3, 1, 2], CPU)
    assert layout.starts == [0, 3, 4]
    assert layout.offsets.tolist() == layout.query_bounds.tolist() == [0, 3, 4, 6]
    assert layout.first_tokens.tolist() == [0, 3, 4]
    assert layout.last_tokens.tolist() == [2, 3, 5]


def test_a_shared_prefix_lies_before_them_and_asks_for_itself() -> None:
    layout = Layout([3, 1, 2], CPU, shared=10)
    assert layout.starts == [10, 13, 14]
    assert layout.last_tokens.tolist() == [12, 13, 15]
    assert layout.query_bounds.tolist() == [0, 10, 13, 14, 16]


def test_every_sequence_reads_the_prefix_and_then_itself() -> None:
    indices, bounds = Layout([3, 1], CPU, shared=2).keys
    assert indices.tolist() == [0, 1, 0, 1, 2, 3, 4, 0, 1, 5]
    assert bounds.tolist() == [0, 2, 7, 10]
    assert bounds.dtype == torch.int32


@pytest.mark.parametrize(("wanted", "tokens"), [("first", [0, 3]), ("last", [2, 3])])
def test_the_wanted_token_of_each_is_known(wanted: str, tokens: list[int]) -> None:
    assert Layout([3, 1], CPU, wanted=wanted).wanted_tokens.tolist() == tokens  # type: ignore[arg-type]
