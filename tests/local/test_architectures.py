"""A family that cannot run packed is refused, should anyone list it, and never gives wrong vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers

from qwen_embed_integrations.errors import ModelLoadError
from qwen_embed_integrations.local.architectures import FAMILIES, Family, family_of
from qwen_embed_integrations.local.forward.attention import PACKED
from qwen_embed_integrations.local.forward.cpu_layers import fuse
from qwen_embed_integrations.local.forward.cpu_linear import PlainLinear
from qwen_embed_integrations.local.forward.packed import token_states

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}


def mistral() -> transformers.PreTrainedModel:
    config = transformers.MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=8)
    config._attn_implementation = PACKED
    return transformers.MistralModel(config)


def qwen2_with_a_window() -> transformers.PreTrainedModel:
    config = transformers.Qwen2Config(
        **SIZES, num_key_value_heads=2, use_sliding_window=True, sliding_window=8, max_window_layers=0
    )
    config._attn_implementation = PACKED
    return transformers.Qwen2Model(config)


def mpnet() -> transformers.PreTrainedModel:
    model = transformers.MPNetModel(transformers.MPNetConfig(**SIZES))
    model.config._attn_implementation = PACKED
    return model


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (mistral, "MistralAttention attends with sliding_window"),
        (qwen2_with_a_window, "Qwen2Attention attends with sliding_window"),
        (mpnet, "MPNetModel attends by code of its own"),
    ],
)
@torch.inference_mode()
def test_a_model_that_attends_in_its_own_way_is_refused(
    make: Callable[[], transformers.PreTrainedModel], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FAMILIES, "mistral", Family("Mistral", "qwen", causal=True))
    monkeypatch.setitem(FAMILIES, "mpnet", Family("MPNet", "bert", behind_padding=True))
    model = make().eval()
    fuse(model, PlainLinear)
    with pytest.raises(ModelLoadError, match=reason):
        token_states(model, [[5, 6, 7], [8, 9]], 0)


@pytest.mark.parametrize(
    "settings",
    [
        {"use_sliding_window": True},
        {"layer_types": ["sliding_attention"]},
        {"position_embedding_type": "relative_key"},
        {"rope_scaling": {"type": "dynamic", "factor": 2.0}},
        {"rope_parameters": {"rope_type": "longrope"}},
    ],
)
def test_a_config_that_rules_packing_out_has_no_family(settings: dict[str, Any]) -> None:
    assert family_of({"model_type": "qwen3"}) is FAMILIES["qwen3"]
    assert family_of({"model_type": "qwen3", **settings}) is None


def test_an_encoder_that_reads_forward_only_has_no_family() -> None:
    assert family_of({"model_type": "bert", "is_causal": True}) is None
    assert family_of({"model_type": "qwen3", "is_causal": True}) is FAMILIES["qwen3"]
    assert family_of({"model_type": "qwen3", "is_causal": False}) is FAMILIES["qwen3"]
