from __future__ import annotations

import pytest

from qwen_embed_integrations.doctor.data.rerank_wordings import DOCUMENTS, QUERY, known_wordings
from qwen_embed_integrations.profiles import RerankProfile, profile_for


def profile(name: str) -> RerankProfile:
    known = profile_for(name)
    assert isinstance(known, RerankProfile)
    return known


def test_the_first_wording_is_the_models_own_and_the_only_right_one() -> None:
    qwen = profile("Qwen/Qwen3-Reranker-0.6B")
    wordings = known_wordings(qwen)
    assert [wording.severity for wording in wordings].count("ok") == 1
    assert wordings[0].severity == "ok"
    assert wordings[0].prompt("D", None) == qwen.lead(QUERY) + "D" + qwen.tail


@pytest.mark.parametrize("instruction", [None, "Find invoices"])
def test_no_two_wordings_make_the_same_prompt(instruction: str | None) -> None:
    made = [
        (wording.prompt(DOCUMENTS[0], instruction), wording.ends)
        for wording in known_wordings(profile("Qwen/Qwen3-Reranker-0.6B"))
    ]
    # Two differ in the default instruction alone.
    assert len(made) - len(set(made)) == (0 if instruction is None else 2)


def test_a_model_without_a_think_block_has_no_wordings_about_one() -> None:
    assert len(known_wordings(profile("mixedbread-ai/mxbai-rerank-base-v2"))) == 4
