"""Sequences laid end to end give the states that each gives alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from transformers import AutoModel

import checkpoints
from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles
from qwen_embed_integrations.local.forward.packed import attention_for, capabilities, padded, token_states
from qwen_embed_integrations.local.sequences import Capabilities

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qwen_embed_integrations.local.forward.layout import Wanted

MODELS = {
    "BERT": checkpoints.bert_embedding,
    "RoBERTa": checkpoints.roberta_embedding,
    "Qwen2": checkpoints.qwen2,
    "Qwen3": checkpoints.qwen3,
    "DistilBERT": checkpoints.distilbert_embedding,
}
SEQUENCES = [[*range(20, 80)], [30], [*range(40, 71)]]


def loaded(make: Callable[[Path], Any], folder: Path) -> Any:
    make(folder)
    attention = attention_for(CheckpointFiles(folder).config)
    options = {} if attention is None else {"attn_implementation": attention}
    return AutoModel.from_pretrained(folder, dtype=torch.float32, **options).eval()


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
@torch.inference_mode()
def test_states_are_those_of_each_sequence_alone(make: Callable[[Path], Any], tmp_path: Path) -> None:
    make(tmp_path)
    plain = AutoModel.from_pretrained(tmp_path, dtype=torch.float32).eval()
    alone = [plain(input_ids=torch.tensor([ids])).last_hidden_state[0] for ids in SEQUENCES]
    states = token_states(loaded(make, tmp_path), SEQUENCES, 0)
    torch.testing.assert_close(states.hidden, torch.cat(alone), atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(states.first(), torch.stack([each[0] for each in alone]), atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(states.last(), torch.stack([each[-1] for each in alone]), atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(states.mean(), torch.stack([each.mean(0) for each in alone]), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("shared", [1, 15])
@torch.inference_mode()
def test_last_states_behind_a_shared_prefix_are_those_without_sharing(shared: int, tmp_path: Path) -> None:
    model = loaded(checkpoints.qwen3, tmp_path)
    sequences = [[*range(200, 215), *ids] for ids in SEQUENCES]
    found = token_states(model, sequences, 0, shared=shared, wanted="last")
    assert len(found.hidden) == sum(map(len, sequences)) - 2 * shared
    torch.testing.assert_close(found.last(), token_states(model, sequences, 0).last(), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize(
    ("name", "wanted", "expected"),
    [
        ("Qwen3", "last", Capabilities(shares_prefix=True, side_by_side=True)),
        ("Qwen2", "last", Capabilities(shares_prefix=True, side_by_side=True)),
        ("Qwen3", None, Capabilities(side_by_side=True)),
        ("BERT", "last", Capabilities(side_by_side=True)),
        ("BERT", "first", Capabilities(side_by_side=True)),
        ("DistilBERT", None, Capabilities(padded=True)),
    ],
)
def test_a_prefix_is_shared_where_states_read_nothing_behind_them(
    name: str, wanted: Wanted | None, expected: Capabilities, tmp_path: Path
) -> None:
    assert capabilities(loaded(MODELS[name], tmp_path), wanted=wanted) == expected


def test_a_decoder_turned_encoder_shares_no_prefix(tmp_path: Path) -> None:
    model = loaded(checkpoints.qwen3, tmp_path)
    model.config.is_causal = False
    assert not capabilities(model, wanted="last").shares_prefix


def test_padding_stands_on_the_right_behind_a_mask() -> None:
    ids, mask = padded([[5, 6, 7], [8]], 9, torch.device("cpu"))
    assert ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
