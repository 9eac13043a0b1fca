"""Which sequences go into the next pass."""

from __future__ import annotations

import random
from concurrent.futures import Future

import pytest

from qwen_embed_integrations.local.scheduler.batching import Job, Pass, can_fill, next_pass
from qwen_embed_integrations.local.sequences import Tokens


def job(*sequences: list[int], shares_prefix: bool = False, of: int | None = None) -> Job:
    made = Job(Future(), of or len(sequences), shares_prefix=shares_prefix)
    made.add(Tokens(list(sequences), []))
    return made


def passes(*jobs: Job, token_budget: int, padded: bool = False) -> list[Pass]:
    found = []
    while any(each.ready for each in jobs):
        found.append(next_pass(jobs, token_budget, padded=padded))
    return found


def costs(*jobs: Job, token_budget: int, padded: bool = False) -> list[int]:
    return [each.cost for each in passes(*jobs, token_budget=token_budget, padded=padded)]


def test_the_longest_sequences_of_a_job_go_first() -> None:
    lengths = [
        [len(each) for each in one.batch().sequences] for one in passes(job([1], [2] * 3, [3] * 2), token_budget=3)
    ]
    assert lengths == [[3], [2, 1]]


def test_the_last_pass_is_as_full_as_the_others() -> None:
    assert costs(job(*[[1] * 50] * 42), token_budget=2048) == [1050, 1050]
    assert costs(job(*[[1] * 50] * 41), token_budget=2048) == [1050, 1000]
    assert costs(job(*[[1] * 50] * 40), token_budget=2048) == [2000]


def test_even_passes_are_at_most_one_more_than_the_fewest() -> None:
    chance = random.Random(7)
    for _ in range(50):
        lengths = [chance.randint(1, 120) for _ in range(chance.randint(1, 400))]
        found = costs(job(*[[1] * length for length in lengths]), token_budget=1000)
        assert sum(found) == sum(lengths)
        assert max(found) <= 1000
        # Sequences do not divide, so that one more than the least may be needed.
        assert len(found) <= -(-sum(lengths) // 1000) + 1


def test_passes_are_full_while_more_texts_are_tokenized() -> None:
    assert next_pass([job(*[[1] * 50] * 42, of=500)], 2048, padded=False).cost == 2000


def test_a_common_beginning_counts_once() -> None:
    prompt = [*range(100)]
    reranked = job(*[[*prompt, *[at] * 50] for at in range(200, 210)], shares_prefix=True)
    assert costs(reranked, token_budget=600) == [600]


def test_a_common_beginning_too_short_to_be_computed_once_counts_each_time() -> None:
    short = job(*[[*range(7), at] for at in range(2048)], shares_prefix=True)
    assert costs(short, token_budget=1024) == [1024] * 16
    pays = job(*[[*range(8), at] for at in range(100)], shares_prefix=True)
    assert costs(pays, token_budget=1024) == [108]


def test_copies_of_a_long_common_beginning_stay_within_a_few_budgets() -> None:
    query = [*range(2000)]
    found = passes(job(*[[*query, *[at] * 50] for at in range(600)], shares_prefix=True), token_budget=32_768)
    read = [2000 + sum(map(len, each.batch().sequences)) for each in found]
    assert max(read) <= 4 * 32_768
    assert sorted(read)[1] > 4 * 32_768 - 2050


def test_without_sharing_each_sequence_counts_in_full() -> None:
    prompt = [*range(100)]
    assert costs(job(*[[*prompt, at] for at in range(200, 204)]), token_budget=202) == [202, 202]


def test_a_common_beginning_leaves_each_sequence_its_last_token() -> None:
    text = [*range(10)]
    assert job(text, text, [*text, 10], shares_prefix=True).prefix == text[:-1]


def test_a_pass_hands_over_what_its_sequences_begin_with() -> None:
    prompt = [*range(10)]
    made = job([*prompt, 10, 11, 12], [*prompt, 10, 11, 13], [*prompt, 7], shares_prefix=True)
    first, second = passes(made, token_budget=16)
    assert (len(first.batch().sequences), first.batch().shared) == (2, 12)
    assert (len(second.batch().sequences), second.batch().shared) == (1, 0)


def test_jobs_of_a_model_that_shares_nothing_hand_nothing_over() -> None:
    (together,) = passes(job([*range(20), 1], [*range(20), 2]), token_budget=100)
    assert together.batch().shared == 0


def test_a_common_beginning_shrinks_as_texts_arrive() -> None:
    prompt = [*range(10)]
    made = job([*prompt, 10, 11, 12], [*prompt, 10, 11, 13], shares_prefix=True, of=4)
    assert made.prefix == [*prompt, 10, 11]
    made.add(Tokens([[*prompt, 7, 7]], []))
    assert made.prefix == prompt
    made.add(Tokens([[0, 7, 7]], []))
    assert made.prefix == []


def test_jobs_that_begin_alike_share_a_pass() -> None:
    prompt = [*range(50)]
    queries = [job([*prompt, *[100 + at] * 25], shares_prefix=True) for at in range(20)]
    assert costs(*queries, token_budget=550) == [550]


def test_jobs_that_begin_otherwise_do_not_cost_others_their_common_beginning() -> None:
    first = job(*[[*range(100), at] for at in range(200, 210)], shares_prefix=True)
    second = job(*[[*range(300, 400), at] for at in range(200, 210)], shares_prefix=True)
    assert costs(first, second, token_budget=2048) == [110, 110]


def test_jobs_without_a_common_beginning_share_a_pass() -> None:
    documents = job([1] * 5, [2] * 5, shares_prefix=True)
    assert costs(documents, job([3] * 5, shares_prefix=True), token_budget=100) == [15]


@pytest.mark.parametrize("padded", [False, True], ids=["packed", "padded"])
def test_what_is_put_back_is_taken_again_in_the_same_order(padded: bool) -> None:  # noqa: FBT001 of parametrize
    made = job(*[[at] * at for at in range(1, 20)])
    before = made.ready_tokens
    first = next_pass([made], 60, padded=padded)
    sequences = first.batch().sequences
    first.put_back()
    assert made.ready_tokens == before
    assert next_pass([made], 60, padded=padded).batch().sequences == sequences


def test_passes_side_by_side_take_their_share_of_what_is_left() -> None:
    left = [job(*[[1] * 10] * 600)]
    found = []
    while left[0].ready:
        found.append(next_pass(left, 1024, padded=False, parts=4).cost)
    assert found[:3] == [1020, 1020, 990]
    assert found[-1] <= 260
    assert sum(found) == 6000


def test_passes_side_by_side_are_not_much_less_than_what_all_compute_again() -> None:
    prompt = [*range(500)]
    made = job(*[[*prompt, *[at] * 100] for at in range(600, 608)], shares_prefix=True)
    assert next_pass([made], 4096, padded=False, parts=8).cost == 1000


@pytest.mark.parametrize(
    ("sequences", "filled"),
    [
        ([[1]] * 1023, False),
        ([[1]] * 1024, True),
        ([[1] * 600, *[[1]] * 600], False),
        ([[1] * 300] * 4, True),
        ([], False),
    ],
)
def test_passes_are_side_by_side_where_each_has_enough_to_do(sequences: list[list[int]], *, filled: bool) -> None:
    assert can_fill([job(*sequences)] if sequences else [], 4) is filled
    assert not can_fill([job(*sequences)] if sequences else [], 1)


def test_what_other_passes_put_back_is_sorted_in() -> None:
    made = job(*[[at] * at for at in range(1, 9)])
    first, second = (next_pass([made], 8, padded=False) for _ in range(2))
    first.put_back()
    second.put_back()
    assert [made.length(at) for at in made.ready] == [*range(1, 9)]
