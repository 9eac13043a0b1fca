"""A pair's score is what a classification head says of it, through the checkpoint's activation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from transformers import AutoModelForSequenceClassification

import checkpoints
from qwen_embed_integrations.errors import ModelLoadError
from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles
from qwen_embed_integrations.local.checkpoint.tokenizer import Tokenizer
from qwen_embed_integrations.local.forward.pair_scores import PairScores
from qwen_embed_integrations.local.sequences import Capabilities, TokenBatch

if TYPE_CHECKING:
    from pathlib import Path


def scores(folder: Path) -> tuple[PairScores, Tokenizer]:
    files = CheckpointFiles(folder)
    tokenizer = Tokenizer(files, max_tokens=128, long_text="truncate")
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    return PairScores(files, model, tokenizer), tokenizer


@pytest.mark.parametrize("activation", ["torch.nn.Sigmoid", "torch.nn.modules.activation.Tanh"])
def test_scores_of_padded_pairs_are_those_of_each_alone(activation: str, tmp_path: Path) -> None:
    folder = checkpoints.bert_cross_encoder(tmp_path / "tiny")
    checkpoints.edit_json(folder / "config.json", sentence_transformers={"activation_fn": activation})
    made, tokenizer = scores(folder)
    assert made.capabilities == Capabilities(padded=True)
    pairs = tokenizer.encode_pairs("which fox?", ["the quick brown fox", "dog", "x " * 40]).sequences
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        logits = [
            model(input_ids=torch.tensor([pair.ids]), token_type_ids=torch.tensor([pair.types])).logits[0, 0]
            for pair in pairs
        ]
    activate = torch.sigmoid if "Sigmoid" in activation else torch.tanh
    found = torch.tensor(made(TokenBatch(pairs)))
    assert found.std() > 0.01
    torch.testing.assert_close(found, activate(torch.stack(logits)), atol=2e-5, rtol=2e-5)


def test_an_activation_that_is_none_of_torchs_is_refused(tmp_path: Path) -> None:
    folder = checkpoints.bert_cross_encoder(tmp_path / "tiny")
    checkpoints.edit_json(folder / "config.json", sbert_ce_default_activation_function="mine.Activation")
    with pytest.raises(ModelLoadError, match=r"'mine.Activation', which is not one of torch's"):
        scores(folder)
