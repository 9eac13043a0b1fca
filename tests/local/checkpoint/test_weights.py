"""Weights are counted and converted as transformers would read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

import checkpoints
from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles
from qwen_embed_integrations.local.checkpoint.weights import StoredWeights

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_large_matrix_is_converted_in_pieces_to_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qwen_embed_integrations.local.checkpoint.weights._READ_AT_ONCE", 10_000)
    folder = checkpoints.bert_embedding(tmp_path / "tiny")
    expected = load_file(folder / "model.safetensors")
    converted = dict(StoredWeights(CheckpointFiles(folder)).converted(torch.bfloat16))
    assert converted.keys() == expected.keys()
    assert all(torch.equal(converted[name], tensor.bfloat16()) for name, tensor in expected.items())


def test_tied_weights_and_heads_that_are_not_read_do_not_count(tmp_path: Path) -> None:
    folder = checkpoints.qwen3(tmp_path / "tiny")
    weights = load_file(folder / "model.safetensors")
    counted = sum(tensor.numel() for tensor in weights.values())
    embeddings = weights["model.embed_tokens.weight"]
    for head, more in ((embeddings.clone(), 0), (embeddings + 1, 1), (torch.zeros(640, 64), 1)):
        save_file(weights | {"lm_head.weight": head}, folder / "model.safetensors", metadata={"format": "pt"})
        assert StoredWeights(CheckpointFiles(folder)).size(torch.bfloat16) == 2 * (counted + more * head.numel())
    checkpoints.edit_json(folder / "config.json", tie_word_embeddings=False)
    untied = CheckpointFiles(folder)
    assert StoredWeights(untied).size(torch.bfloat16) == 2 * (counted + 640 * 64)
    assert StoredWeights(untied, ("lm_head.",)).size(torch.bfloat16) == 2 * counted
