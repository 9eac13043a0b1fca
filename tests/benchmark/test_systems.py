from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from qwen_embed_integrations import Embedder
from qwen_embed_integrations.benchmark import DenseSystem, FusionSystem, LexicalSystem, RerankedSystem
from qwen_embed_integrations.errors import InvalidInputError

if TYPE_CHECKING:
    from qwen_embed_integrations import Reranker


def test_a_dense_system_is_described_by_all_that_shapes_its_vectors(embedder: Embedder) -> None:
    assert DenseSystem("x", embedder, 32).settings() == {
        "model": "hashed-words",
        "fingerprint": Embedder(embedder._engine, embedder.profile, dimensions=32).fingerprint,
        "dimensions": 32,
        "query_prefix": "",
        "document_prefix": "",
        "distance": "cosine",
    }


def test_other_systems_are_described_by_their_settings(embedder: Embedder, reranker: Reranker) -> None:
    dense = DenseSystem("x", embedder)
    assert FusionSystem("y", (dense, LexicalSystem()), k=10).settings() == {
        "parts": ["x", "BM25"],
        "k": 10,
        "depth": 100,
    }
    assert RerankedSystem("z", dense, reranker, 20).settings() == {
        "first": "x",
        "model": "tiny-reranker",
        "instruction": None,
        "depth": 20,
    }


def test_sizes_and_depths_below_one_are_refused(embedder: Embedder, reranker: Reranker) -> None:
    with pytest.raises(InvalidInputError, match="`dimensions` is 0"):
        DenseSystem("x", embedder, 0)
    with pytest.raises(InvalidInputError, match="`depth` is 0"):
        FusionSystem("x", (LexicalSystem(),), depth=0)
    with pytest.raises(InvalidInputError, match="`depth` is 0"):
        RerankedSystem("x", LexicalSystem(), reranker, 0)


def test_a_cut_system_has_the_fingerprint_of_an_embedder_of_its_size(embedder: Embedder) -> None:
    small = Embedder(embedder._engine, embedder.profile, dimensions=32)
    assert DenseSystem("x", embedder, 32).settings()["fingerprint"] == small.fingerprint != embedder.fingerprint
    assert DenseSystem("x", embedder, 64).settings()["fingerprint"] == embedder.fingerprint


def test_a_size_the_model_does_not_give_has_no_fingerprint(embedder: Embedder) -> None:
    fixed = Embedder(embedder._engine, replace(embedder.profile, min_dimensions=None))
    assert DenseSystem("x", fixed, 32).settings()["fingerprint"] is None
