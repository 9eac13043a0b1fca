"""Fused layers compute what the layers they replace compute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from transformers import AutoModel, BertConfig, BertModel

import checkpoints
from qwen_embed_integrations.local.forward import cpu_linear
from qwen_embed_integrations.local.forward.attention import PACKED
from qwen_embed_integrations.local.forward.cpu_layers import fuse
from qwen_embed_integrations.local.forward.cpu_linear import PlainLinear, PrepackedLinear
from qwen_embed_integrations.local.forward.packed import token_states
from qwen_embed_integrations.local.forward.row_counts import rounded_up

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qwen_embed_integrations.local.forward.layout import Wanted

FAMILIES = {
    "BERT": checkpoints.bert,
    "XLM-RoBERTa": checkpoints.roberta_embedding,
    "Qwen2": checkpoints.qwen2,
    "Qwen3": checkpoints.qwen3,
    "DistilBERT": checkpoints.distilbert_embedding,
    "DeBERTa": checkpoints.deberta_cross_encoder,
}


@pytest.fixture(params=[PlainLinear, PrepackedLinear])
def kind(request: pytest.FixtureRequest) -> Any:
    """The linear layers to take."""
    return request.param


def linear_layers(model: nn.Module) -> int:
    return sum(type(module) is nn.Linear for module in model.modules())


def states(model: Any) -> torch.Tensor:
    ids = torch.randint(5, 300, (2, 40), generator=torch.Generator().manual_seed(0))
    found: torch.Tensor = model(input_ids=ids).last_hidden_state
    return found.float()


@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES.keys())
@torch.inference_mode()
def test_states_stay_the_same(make: Callable[[Path], Any], tmp_path: Path, kind: Any) -> None:
    make(tmp_path)
    model = AutoModel.from_pretrained(tmp_path, dtype=torch.float32).eval()
    before = states(model)
    assert linear_layers(model) > 0
    fuse(model, kind)
    assert linear_layers(model) == 0
    torch.testing.assert_close(states(model), before, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES.keys())
@torch.inference_mode()
def test_in_bfloat16_no_more_is_lost_than_before(make: Callable[[Path], Any], kind: Any, tmp_path: Path) -> None:
    if kind is PrepackedLinear and not cpu_linear.has_onednn(torch.bfloat16):
        pytest.skip("oneDNN has no bfloat16 on this processor")
    make(tmp_path)
    exact = states(AutoModel.from_pretrained(tmp_path, dtype=torch.float32).eval())
    model = AutoModel.from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
    lost = (states(model) - exact).norm()
    fuse(model, kind)
    assert (states(model) - exact).norm() < 1.15 * lost


@torch.inference_mode()
def test_a_layer_that_stands_in_two_places_stays_one(kind: Any) -> None:
    layer = nn.Linear(8, 8)
    model = BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=0, num_attention_heads=2))
    model.one, model.other = layer, layer
    fuse(model, kind)
    assert model.one is model.other
    assert model.one(torch.ones(1, 8)).shape == (1, 8)


@torch.inference_mode()
def test_a_layer_of_another_kind_is_left_to_compute(tmp_path: Path, kind: Any) -> None:
    class Doubling(nn.Linear):
        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(states)

    checkpoints.qwen3(tmp_path)
    model = AutoModel.from_pretrained(tmp_path, dtype=torch.float32).eval()
    mlp = model.layers[0].mlp
    changed = Doubling(mlp.up_proj.in_features, mlp.up_proj.out_features, bias=False)
    changed.weight = mlp.up_proj.weight
    mlp.up_proj = changed
    before = states(model)
    fuse(model, kind)
    torch.testing.assert_close(states(model), before, atol=2e-5, rtol=2e-5)


PACKING = {name: FAMILIES[name] for name in ("BERT", "XLM-RoBERTa", "Qwen2", "Qwen3")}
SEQUENCES = [[*range(5, 65)], [7], [*range(100, 130)]]
SHARING = [[*range(200, 215), *each] for each in SEQUENCES]


def packed(make: Callable[[Path], Any], folder: Path) -> Any:
    make(folder)
    return AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation=PACKED).eval()


@pytest.mark.parametrize("make", PACKING.values(), ids=PACKING.keys())
@torch.inference_mode()
def test_packed_attention_stays_the_same(make: Callable[[Path], Any], tmp_path: Path, kind: Any) -> None:
    model = packed(make, tmp_path)
    before = token_states(model, SEQUENCES, 0).hidden
    fuse(model, kind)
    torch.testing.assert_close(token_states(model, SEQUENCES, 0).hidden, before, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("BERT", "first"), ("BERT", "last"), ("XLM-RoBERTa", "first"), ("Qwen2", "last"), ("Qwen3", "last")],
)
@torch.inference_mode()
def test_the_last_layer_computes_only_the_states_that_are_wanted(
    name: str, wanted: Wanted, kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = packed(PACKING[name], tmp_path)
    expected = getattr(token_states(model, SEQUENCES, 0), wanted)()
    fuse(model, kind)
    rows = []
    forward = kind.forward

    def watched(layer: Any, states: torch.Tensor) -> torch.Tensor:
        rows.append(states.numel() // states.shape[-1])
        return forward(layer, states)

    monkeypatch.setattr(kind, "forward", watched)
    found = token_states(model, SEQUENCES, 0, wanted=wanted)
    assert rows.count(rounded_up(len(SEQUENCES))) >= 2  # the last layer's queries and what follows them
    assert rows.count(rounded_up(sum(map(len, SEQUENCES)))) > len(rows) // 2  # keys and values, and the layers before
    torch.testing.assert_close(getattr(found, wanted)(), expected, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("make", [checkpoints.qwen2, checkpoints.qwen3])
@torch.inference_mode()
def test_last_states_read_a_shared_beginning(make: Callable[[Path], Any], kind: Any, tmp_path: Path) -> None:
    model = packed(make, tmp_path)
    expected = token_states(model, SHARING, 0).last()
    fuse(model, kind)
    found = token_states(model, SHARING, 0, shared=15, wanted="last")
    assert found.layout.cut
    torch.testing.assert_close(found.last(), expected, atol=2e-5, rtol=2e-5)


@torch.inference_mode()
def test_a_first_state_that_reads_nothing_behind_it_stays_as_it_is(tmp_path: Path, kind: Any) -> None:
    model = packed(checkpoints.qwen3, tmp_path)
    expected = token_states(model, SEQUENCES, 0).first()
    fuse(model, kind)
    found = token_states(model, SEQUENCES, 0, wanted="first").first()
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)


@torch.inference_mode()
def test_an_activation_that_is_not_known_is_left_to_the_model(tmp_path: Path, kind: Any) -> None:
    checkpoints.bert(tmp_path, hidden_act="gelu_new")
    model = AutoModel.from_pretrained(tmp_path, dtype=torch.float32).eval()
    ids = torch.arange(5, 45).unsqueeze(0)
    before = model(input_ids=ids).last_hidden_state
    fuse(model, kind)
    torch.testing.assert_close(model(input_ids=ids).last_hidden_state, before, atol=2e-5, rtol=2e-5)
