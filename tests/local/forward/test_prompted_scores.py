"""A prompt's score is the probability of one token against another behind it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from transformers import AutoModelForCausalLM

import checkpoints
from qwen_embed_integrations.errors import ModelLoadError
from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles
from qwen_embed_integrations.local.checkpoint.tokenizer import Tokenizer
from qwen_embed_integrations.local.forward.attention import PACKED
from qwen_embed_integrations.local.forward.prompted_scores import PromptedScores
from qwen_embed_integrations.local.sequences import TokenBatch
from qwen_embed_integrations.profiles import RerankProfile, profile_for

if TYPE_CHECKING:
    from pathlib import Path

PROMPTS = [[*range(100, 120), *tail] for tail in ([5, 6, 7], [8], [*range(30, 60)])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.qwen3(tmp_path_factory.mktemp("scores") / "tiny", append_eos=False, initializer_range=0.1)


def scores(folder: Path, **changes: str) -> PromptedScores:
    profile = profile_for("Qwen/Qwen3-Reranker-0.6B")
    assert isinstance(profile, RerankProfile)
    tokenizer = Tokenizer(CheckpointFiles(folder), max_tokens=512, long_text="truncate")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation=PACKED).eval()
    return PromptedScores(model, replace(profile, **changes), tokenizer)


@pytest.mark.parametrize("shared", [0, 20])
def test_scores_compare_two_logits_at_the_last_position(folder: Path, shared: int) -> None:
    tokenizer = Tokenizer(CheckpointFiles(folder), max_tokens=512, long_text="truncate").raw
    yes, no = tokenizer.convert_tokens_to_ids(["yes", "no"])
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        logits = torch.stack([plain(input_ids=torch.tensor([ids])).logits[0, -1] for ids in PROMPTS])
    expected = logits[:, [yes, no]].softmax(-1)[:, 0]
    made = scores(folder)
    assert made.capabilities.shares_prefix
    found = torch.tensor(made(TokenBatch(PROMPTS, shared=shared)))
    assert found.std() > 0.01
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)


def test_tokens_that_the_tokenizer_lacks_are_named(folder: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"'perhaps' and 'no', and the tokenizer does not have both"):
        scores(folder, true_token="perhaps")
