"""What sequences have in common at their beginning, and what a pair's length is."""

from __future__ import annotations

import itertools

import pytest

from qwen_embed_integrations.local.sequences import Pair, common_prefix

EIGHT = [*range(8)]


@pytest.mark.parametrize(
    ("sequences", "prefix"),
    [
        ([], []),
        ([[]], []),
        ([EIGHT], EIGHT),
        ([EIGHT[:7]], []),
        ([EIGHT, [*EIGHT, 8]], EIGHT),
        ([[*EIGHT, 1, 2], [*EIGHT, 1, 3], [*EIGHT, 1]], [*EIGHT, 1]),
        ([[*EIGHT[:7], 1], [*EIGHT[:7], 2]], []),
        ([EIGHT, EIGHT, []], []),
    ],
)
def test_a_prefix_is_what_all_begin_with_if_it_is_long_enough_to_pay(
    sequences: list[list[int]], prefix: list[int]
) -> None:
    for order in itertools.permutations(sequences):
        assert common_prefix(order) == prefix


def test_a_pair_is_as_long_as_its_tokens() -> None:
    assert len(Pair([5, 6, 7], [0, 1, 1])) == 3
