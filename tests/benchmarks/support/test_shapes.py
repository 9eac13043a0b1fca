from __future__ import annotations

import pytest
import torch
import transformers

from qwen_embed_integrations import profile_for
from support.ceiling import parameters
from support.options import Compute
from support.shapes import SHAPES, checkpoint, config_of

CPU = Compute(torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("name", ["mxbai", "qwen3", "qwen3-4b", "qwen3-8b"])
def test_a_shape_has_the_real_models_parameters(name: str) -> None:
    shape = SHAPES[name]
    with torch.device("meta"):
        model = transformers.AutoModel.from_config(config_of(shape))
    counted = sum(weights.numel() for part, weights in model.named_parameters() if not part.startswith("pooler."))
    profile = profile_for(shape.name)
    assert counted == getattr(profile, "parameters", None) or shape.kind == "bert"


def test_the_parameters_of_matrices_are_counted_from_the_files() -> None:
    sizes = {"num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48}
    shape = SHAPES["mxbai"].changed(sizes)
    with checkpoint(shape, CPU, seed=0, parent=None) as folder:
        assert parameters(folder) == 3 * (4 * 32 * 32 + 2 * 32 * 48)
    assert not folder.exists()


def test_the_same_seed_makes_the_same_weights() -> None:
    shape = SHAPES["jina"].changed({"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 4})
    made = []
    for seed in (1, 1, 2):
        with checkpoint(shape, CPU, seed=seed, parent=None) as folder:
            made.append((folder / "model.safetensors").read_bytes())
    assert made[0] == made[1] != made[2]
