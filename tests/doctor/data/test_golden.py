from __future__ import annotations

from qwen_embed_integrations.doctor.data.golden import SCORES, VECTORS
from qwen_embed_integrations.profiles import ModelProfile, RerankProfile, profile_for


def test_published_cosines_are_those_of_known_models_and_fit_their_texts() -> None:
    for name, goldens in VECTORS.items():
        assert isinstance(profile_for(name), ModelProfile)
        for golden in goldens:
            assert [len(row) for row in golden.cosines] == [len(golden.documents)] * len(golden.queries)


def test_published_scores_are_those_of_known_rerankers_and_fit_their_texts() -> None:
    for name, golden in SCORES.items():
        assert isinstance(profile_for(name), RerankProfile)
        assert len(golden.scores) == len(golden.documents)
        assert all(0 < score < 1 for score in golden.scores)
