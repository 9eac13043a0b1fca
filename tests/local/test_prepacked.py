"""Prepacked layers compute what the layers they replace compute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from transformers import AutoModel

import checkpoints
from qwen_embed_integrations.local import prepacked
from qwen_embed_integrations.local.attention import PACKED
from qwen_embed_integrations.local.layout import Layout
from qwen_embed_integrations.local.prepacked import prepack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FAMILIES = {
    "BERT": checkpoints.bert,
    "XLM-RoBERTa": checkpoints.roberta_embedding,
    "Qwen2": checkpoints.qwen2,
    "Qwen3": checkpoints.qwen3,
    "DistilBERT": checkpoints.distilbert_embedding,
    "DeBERTa": checkpoints.deberta_cross_encoder,
}


def linear_layers(model: nn.Module) -> int:
    return sum(type(module) is nn.Linear for module in model.modules())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.bfloat16, 0.15)], ids=str)
@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES.keys())
@torch.inference_mode()
def test_states_stay_the_same(
    make: Callable[[Path], Any], dtype: torch.dtype, tolerance: float, tmp_path: Path
) -> None:
    make(tmp_path)
    model = AutoModel.from_pretrained(tmp_path, dtype=dtype).eval()
    ids = torch.randint(5, 300, (2, 40), generator=torch.Generator().manual_seed(0))
    before = model(input_ids=ids).last_hidden_state
    assert linear_layers(model) > 0
    prepack(model)
    assert linear_layers(model) == 0
    torch.testing.assert_close(model(input_ids=ids).last_hidden_state, before, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("make", [checkpoints.qwen2, checkpoints.qwen3])
@torch.inference_mode()
def test_packed_attention_stays_the_same(make: Callable[[Path], Any], tmp_path: Path) -> None:
    make(tmp_path)
    model = AutoModel.from_pretrained(tmp_path, dtype=torch.float32, attn_implementation=PACKED).eval()
    ids = torch.randint(5, 300, (1, 90), generator=torch.Generator().manual_seed(0))
    row = {
        "input_ids": ids,
        "position_ids": torch.cat([torch.arange(60), torch.arange(30)]).unsqueeze(0),
        "layout": Layout([60, 30], ids.device),
    }
    before = model(**row, use_cache=False).last_hidden_state
    prepack(model)
    torch.testing.assert_close(model(**row, use_cache=False).last_hidden_state, before, atol=2e-5, rtol=2e-5)


@torch.inference_mode()
def test_an_activation_that_is_not_known_is_left_to_the_model(tmp_path: Path) -> None:
    checkpoints.bert(tmp_path, hidden_act="gelu_new")
    model = AutoModel.from_pretrained(tmp_path, dtype=torch.float32).eval()
    ids = torch.arange(5, 45).unsqueeze(0)
    before = model(input_ids=ids).last_hidden_state
    prepack(model)
    torch.testing.assert_close(model(input_ids=ids).last_hidden_state, before, atol=2e-5, rtol=2e-5)


def test_weights_can_still_be_read() -> None:
    layer = nn.Linear(24, 40)
    weight = layer.weight.detach()
    torch.testing.assert_close(prepacked._Linear(layer).weight, weight, atol=0, rtol=0)


def test_a_torch_without_the_operators_leaves_the_model_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def gone(_layer: nn.Linear) -> nn.Module:
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_reorder_linear_weight'")

    checkpoints.bert(tmp_path)
    model = AutoModel.from_pretrained(tmp_path, dtype=torch.float32)
    layers = linear_layers(model)
    prepacked._works.cache_clear()
    monkeypatch.setattr(prepacked, "_Linear", gone)
    try:
        prepack(model)
    finally:
        prepacked._works.cache_clear()
    assert linear_layers(model) == layers
