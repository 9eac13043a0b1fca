from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import numpy as np
import pytest

from qwen_embed_integrations.benchmark.index import IndexSettings, VectorIndex, exact_search, overlap
from qwen_embed_integrations.benchmark.ranking import ranked
from qwen_embed_integrations.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def unit_rows(count: int, size: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, size)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[VectorIndex]:
    with VectorIndex(tmp_path / "index", IndexSettings(ef_search=77, ef_construction=88, max_neighbors=9)) as opened:
        yield opened


def test_the_settings_are_pinned_in_the_collection(index: VectorIndex) -> None:
    hnsw = index._collection.configuration["hnsw"]
    assert {name: hnsw[name] for name in ("space", "ef_search", "ef_construction", "max_neighbors")} == {
        "space": "cosine",
        "ef_search": 77,
        "ef_construction": 88,
        "max_neighbors": 9,
    }


def test_similarities_are_cosines(index: VectorIndex) -> None:
    rows = unit_rows(30, 8)
    ids = [f"d{index}" for index in range(30)]
    index.add(ids, rows, ids)
    found = index.search(rows[:1], 30)[0]
    np.testing.assert_allclose([found[key] for key in ids], rows @ rows[0], atol=1e-6)


def test_more_documents_than_chroma_takes_at_once_are_all_stored(index: VectorIndex) -> None:
    count = index._client.get_max_batch_size() + 10
    rows = unit_rows(count, 4)
    ids = [str(index) for index in range(count)]
    index.add(ids, rows, ids)
    assert index._collection.count() == count
    assert ranked(index.search(rows[-1:], 5)[0])[0] == ids[-1]


def test_more_queries_than_go_at_once_are_all_answered_in_order(index: VectorIndex) -> None:
    rows = unit_rows(300, 16)
    ids = [str(index) for index in range(300)]
    index.add(ids, rows, ids)
    assert [ranked(found)[0] for found in index.search(rows, 3, with_texts=True)] == ids


def test_chroma_embeds_nothing_and_asks_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with VectorIndex(tmp_path, IndexSettings()) as index:
        index.add(["a"], unit_rows(1, 4), ["text"])
        index.search(unit_rows(1, 4), 1, with_texts=True)


def test_chroma_finds_what_exact_search_finds(tmp_path: Path) -> None:
    documents, queries = unit_rows(1500, 32, 1), unit_rows(40, 32, 2)
    ids = [f"d{index:04}" for index in range(1500)]
    with VectorIndex(tmp_path, IndexSettings()) as index:
        index.add(ids, documents, ids)
        assert overlap(index.search(queries, 10), exact_search(ids, documents, queries, 10)) > 0.995


def test_exact_search_gives_the_highest_similarities() -> None:
    documents, queries = unit_rows(500, 8, 1), unit_rows(3, 8, 2)
    ids = [f"d{index:03}" for index in range(500)]
    for query, found in zip(queries, exact_search(ids, documents, queries, 10), strict=True):
        assert list(found) == [ids[index] for index in np.argsort(-(documents @ query))[:10]]


def test_overlap_is_the_share_of_exact_neighbours_found() -> None:
    exact = {"a": 0.9, "b": 0.8}
    assert overlap([{"a": 0.9, "c": 0.1}], [exact]) == 0.5
    assert overlap([{"a": 0.9, "b": 0.8}, {}], [exact, exact]) == 0.5


def test_overlap_forgives_another_document_that_is_as_near() -> None:
    assert overlap([{"a": 0.9, "twin": 0.8}], [{"a": 0.9, "b": 0.8}]) == 1.0


def test_a_setting_below_one_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="`ef_search` is 0"):
        IndexSettings(ef_search=0)
