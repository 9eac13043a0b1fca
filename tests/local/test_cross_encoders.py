"""Cross-encoders score as sentence-transformers' CrossEncoder does, in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import checkpoints
from logits import logits_of, scores_of
from qwen_embed_integrations import Reranker
from qwen_embed_integrations.errors import InvalidInputError, LongTextWarning, ModelLoadError

if TYPE_CHECKING:
    from pathlib import Path

sentence_transformers = pytest.importorskip("sentence_transformers")

QUERY = "Which planet is known as the Red Planet?"
DOCUMENTS = [
    "Venus is often called Earth's twin because of its similar size and proximity.",
    "Mars",
    "Jupiter, the largest planet in our solar system,\nhas a prominent red spot. " * 3,
    "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
    "x",
    "fox " * 300,
]


@pytest.mark.parametrize("family", ["bert", "deberta", "xlm_roberta", "distilbert", "modernbert"])
@pytest.mark.parametrize("activation", [None, "torch.nn.modules.linear.Identity"])
def test_scores_equal_sentence_transformers(family: str, activation: str | None, tmp_path: Path) -> None:
    folder = getattr(checkpoints, f"{family}_cross_encoder")(tmp_path / "cross-encoder")
    if activation:
        checkpoints.edit_json(folder / "config.json", sentence_transformers={"activation_fn": activation})
    theirs = sentence_transformers.CrossEncoder(str(folder), device="cpu", activation_fn=torch.nn.Identity())
    wanted = theirs.predict([(QUERY, document) for document in DOCUMENTS])
    with (
        Reranker.local(folder, dtype="float32", device="cpu", token_budget=300) as ours,
        pytest.warns(LongTextWarning, match="were cut"),
    ):
        found = (scores_of if activation else logits_of)(ours, QUERY, DOCUMENTS)
    assert np.ptp(wanted) > 0.05  # the documents differ
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("size", ["xsmall", "base", "large"])
def test_mxbai_rerank_v1_is_known_by_its_name(size: str, tmp_path: Path) -> None:
    folder = checkpoints.deberta_cross_encoder(tmp_path / f"mxbai-rerank-{size}-v1")
    theirs = sentence_transformers.CrossEncoder(str(folder), device="cpu", activation_fn=torch.nn.Identity())
    with Reranker.local(folder, dtype="float32", device="cpu") as ours:
        assert ours.profile.name == f"mixedbread-ai/mxbai-rerank-{size}-v1"
        np.testing.assert_allclose(
            logits_of(ours, QUERY, DOCUMENTS[:2]), theirs.predict([(QUERY, each) for each in DOCUMENTS[:2]]), atol=1e-4
        )


def test_a_cross_encoder_saved_by_todays_sentence_transformers_keeps_its_activation(tmp_path: Path) -> None:
    checkpoints.deberta_cross_encoder(tmp_path / "made")
    theirs = sentence_transformers.CrossEncoder(str(tmp_path / "made"), device="cpu", activation_fn=torch.nn.Identity())
    theirs.save_pretrained(str(tmp_path / "saved"))
    short = [DOCUMENTS[1], DOCUMENTS[4]]
    with Reranker.local(tmp_path / "saved", dtype="float32", device="cpu") as ours:
        np.testing.assert_allclose(
            scores_of(ours, "Red", short), theirs.predict([("Red", document) for document in short]), atol=1e-4
        )
    checkpoints.edit_json(
        tmp_path / "saved" / "config_sentence_transformers.json", prompts={"q": "Query: "}, default_prompt_name="q"
    )
    with pytest.raises(ModelLoadError, match="prompt 'Query: '"):
        Reranker.local(tmp_path / "saved", device="cpu")


def test_a_cross_encoder_takes_no_instruction(tmp_path: Path) -> None:
    checkpoints.deberta_cross_encoder(tmp_path / "cross-encoder")
    with (
        Reranker.local(tmp_path / "cross-encoder", device="cpu") as ours,
        pytest.raises(InvalidInputError, match="`instruction`"),
    ):
        ours.rerank("query", ["document"], instruction="Find")
