from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from qwen_embed_integrations.errors import InvalidInputError

if TYPE_CHECKING:
    from qwen_embed_integrations.benchmark import Dataset


def test_a_sample_keeps_the_documents_and_the_order_of_the_queries(dataset: Dataset) -> None:
    sample = dataset.sample(10, seed=3)
    assert sample.documents == dataset.documents
    assert len(sample.queries) == 10
    assert list(sample.queries) == sorted(sample.queries)
    assert list(sample.relevance) == list(sample.queries)


def test_a_seed_picks_the_sample(dataset: Dataset) -> None:
    assert dataset.sample(10, seed=3) == dataset.sample(10, seed=3)
    assert dataset.sample(10, seed=3) != dataset.sample(10, seed=4)


def test_a_limit_above_all_keeps_all(dataset: Dataset) -> None:
    assert dataset.sample(1000) is dataset


def test_an_empty_sample_is_refused(dataset: Dataset) -> None:
    with pytest.raises(InvalidInputError, match="`limit` is 0"):
        dataset.sample(0)


def test_the_hash_changes_with_any_text_and_any_judgement(dataset: Dataset) -> None:
    others = [
        replace(dataset, documents={**dataset.documents, "d00": "else"}),
        replace(dataset, queries={**dataset.queries, "q00": "else"}),
        replace(dataset, relevance={**dataset.relevance, "q00": {"d01": 1}}),
    ]
    assert len({dataset.sha256, *(other.sha256 for other in others)}) == 4


def test_the_hash_does_not_change_with_the_name(dataset: Dataset) -> None:
    assert replace(dataset, name="other", about={}).sha256 == dataset.sha256


def test_a_query_without_a_relevant_document_is_refused(dataset: Dataset) -> None:
    for grades in ({"d00": 0, "d01": -1}, {}):
        with pytest.raises(InvalidInputError, match=r"`relevance` has no grade above 0 for query 'q07'"):
            replace(dataset, relevance={**dataset.relevance, "q07": grades})
    with pytest.raises(InvalidInputError, match=r"for query 'new'"):
        replace(dataset, queries={**dataset.queries, "new": "bako"})


def test_judgements_of_an_unknown_query_are_refused(dataset: Dataset) -> None:
    with pytest.raises(InvalidInputError, match=r"`relevance` judges query 'q99'"):
        replace(dataset, relevance={**dataset.relevance, "q99": {"d00": 1}})
