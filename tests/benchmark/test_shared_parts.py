from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qwen_embed_integrations.benchmark import DenseSystem, FusionSystem, LexicalSystem
from qwen_embed_integrations.benchmark.ranking import fuse
from qwen_embed_integrations.errors import ServerConnectionError

if TYPE_CHECKING:
    from qwen_embed_integrations import Embedder
    from qwen_embed_integrations.benchmark.shared_parts import SharedParts


def test_the_vectors_of_several_dimensions_are_computed_once(shared: SharedParts, embedder: Embedder) -> None:
    for size in (64, 32, 8):
        assert shared.retriever(DenseSystem(f"d{size}", embedder, size)).results
    # one query to warm up, the documents, the queries
    assert embedder._engine.calls == [1, 60, 60]


def test_a_fusion_uses_the_indexes_of_its_parts(shared: SharedParts, embedder: Embedder) -> None:
    dense, lexical = DenseSystem("dense", embedder), LexicalSystem()
    fused = shared.retriever(FusionSystem("both", (dense, lexical), depth=30)).results
    parts = [shared.retriever(part) for part in (dense, lexical)]
    assert fused[0] == fuse([part.results[0] for part in parts], depth=30)
    cost = shared.retriever(FusionSystem("both", (dense, lexical), depth=30)).cost
    assert cost.store_seconds == pytest.approx(sum(part.cost.store_seconds for part in parts))
    assert embedder._engine.calls == [1, 60, 60]


def test_what_failed_is_not_tried_again(shared: SharedParts, refused: Embedder) -> None:
    dense = DenseSystem("dense", refused)
    for system in (dense, dense, DenseSystem("small", refused, 8), FusionSystem("both", (dense, LexicalSystem()))):
        with pytest.raises(ServerConnectionError, match="nobody answers"):
            shared.retriever(system)
    assert refused._engine.calls == [1]
