"""States are pooled as the recipe says, and go through the checkpoint's dense layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional
from transformers import AutoModel

import checkpoints
from qwen_embed_integrations import ModelProfile
from qwen_embed_integrations.errors import ModelLoadError
from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles
from qwen_embed_integrations.local.checkpoint.recipe import Recipe
from qwen_embed_integrations.local.forward.attention import PACKED
from qwen_embed_integrations.local.forward.pooling import PooledVectors
from qwen_embed_integrations.local.sequences import TokenBatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qwen_embed_integrations.profiles import Pooling

SEQUENCES = [[*range(20, 50)], [30, 31], [*range(40, 71)]]
WEIGHT = torch.linspace(-1, 1, 24 * 64).view(24, 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = checkpoints.qwen3(tmp_path_factory.mktemp("pooling") / "tiny")
    (made / "dense").mkdir()
    save_file({"linear.weight": WEIGHT, "linear.bias": torch.ones(24)}, made / "dense" / "model.safetensors")
    return made


def vectors(folder: Path, pooling: Pooling, *steps: str | None, size: int | None = None) -> PooledVectors:
    recipe = Recipe(ModelProfile(name="tiny", pooling=pooling, dimensions=size), steps=steps)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation=PACKED).eval()
    return PooledVectors(CheckpointFiles(folder), recipe, model, pad=0)


def pooled(folder: Path, how: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    plain = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        return torch.stack([how(plain(input_ids=torch.tensor([ids])).last_hidden_state[0]) for ids in SEQUENCES])


@pytest.mark.parametrize(
    ("pooling", "how"),
    [("cls", lambda states: states[0]), ("last", lambda states: states[-1]), ("mean", lambda states: states.mean(0))],
)
def test_states_are_pooled(pooling: Pooling, how: Callable[[torch.Tensor], torch.Tensor], folder: Path) -> None:
    made = vectors(folder, pooling)
    assert made.pooling == pooling
    found = torch.tensor(made(TokenBatch(SEQUENCES)))
    torch.testing.assert_close(found, pooled(folder, how), atol=2e-5, rtol=2e-5)


def test_last_states_behind_a_shared_prefix_are_the_same(folder: Path) -> None:
    made = vectors(folder, "last")
    assert made.capabilities.shares_prefix
    sequences = [[*range(100, 110), *ids] for ids in SEQUENCES]
    apart, shared = (torch.tensor(made(TokenBatch(sequences, shared=count))) for count in (0, 10))
    torch.testing.assert_close(shared, apart, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("activation", ["torch.nn.modules.activation.Tanh", "torch.nn.modules.linear.Identity"])
def test_dense_layers_and_lengths_follow_in_order(folder: Path, activation: str) -> None:
    checkpoints.write_json(folder / "dense" / "config.json", {"activation_function": activation})
    dense = functional.linear(pooled(folder, lambda states: states.mean(0)), WEIGHT, torch.ones(24))
    if activation.endswith("Tanh"):
        dense = dense.tanh()
    made = vectors(folder, "mean", "dense", None, size=16)
    found = torch.tensor(made(TokenBatch(SEQUENCES)))
    torch.testing.assert_close(found, functional.normalize(dense)[:, :16], atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"use_residual": True}, "of an unsupported form"),
        ({"module_input_name": "token_embeddings"}, "of an unsupported form"),
        ({"activation_function": "mine.Swish"}, r"activation \(mine.Swish\) is unknown"),
        ({"activation_function": "torch.nn.NoSuch"}, r"activation \(torch.nn.NoSuch\) is unknown"),
    ],
)
def test_a_dense_layer_of_another_kind_is_refused(folder: Path, settings: dict[str, Any], reason: str) -> None:
    checkpoints.write_json(folder / "dense" / "config.json", settings)
    with pytest.raises(ModelLoadError, match=reason):
        vectors(folder, "mean", "dense")
