"""A checkpoint's name and files tell which reranker it is, or that it is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file

import checkpoints
from qwen_embed_integrations.errors import ModelLoadError, UnknownModelWarning
from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles
from qwen_embed_integrations.local.checkpoint.rerank_profile import read_rerank_profile

if TYPE_CHECKING:
    from pathlib import Path


def files(folder: Path, **config: Any) -> CheckpointFiles:
    checkpoints.write_json(folder / "config.json", config)
    save_file({"weight": torch.zeros(1)}, folder / "model.safetensors")
    checkpoints.write_json(folder / "tokenizer.json", {})
    return CheckpointFiles(folder)


def test_a_known_name_has_its_profile(tmp_path: Path) -> None:
    found = read_rerank_profile(files(tmp_path / "Qwen3-Reranker-0.6B", model_type="qwen3"))
    assert (found.name, found.method) == ("Qwen/Qwen3-Reranker-0.6B", "token_logits")


@pytest.mark.parametrize("architecture", ["Qwen3ForCausalLM", "Qwen3ForSequenceClassification"])
def test_another_qwen3_is_prompted_as_qwen3_reranker_with_a_warning(tmp_path: Path, architecture: str) -> None:
    folder = files(tmp_path / "mine", model_type="qwen3", architectures=[architecture])
    with pytest.warns(UnknownModelWarning, match="prompted as Qwen3-Reranker is"):
        found = read_rerank_profile(folder)
    assert (found.name, found.method, found.true_token) == ("mine", "token_logits", "yes")


def test_a_sequence_classifier_is_a_cross_encoder(tmp_path: Path) -> None:
    found = read_rerank_profile(
        files(tmp_path / "mine", model_type="bert", architectures=["BertForSequenceClassification"])
    )
    assert (found.name, found.method, found.architecture) == ("mine", "cross_encoder", "bert")


def test_an_embedding_model_is_refused_by_its_name_or_its_pooling(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"is an embedding model; use Embedder\.local"):
        read_rerank_profile(files(tmp_path / "Qwen3-Embedding-0.6B", model_type="qwen3"))
    pooled = files(tmp_path / "mine", model_type="bert")
    checkpoints.write_json(tmp_path / "mine" / "modules.json", [{"type": "sentence_transformers.models.Pooling"}])
    with pytest.raises(ModelLoadError, match=r"is an embedding model; use Embedder\.local"):
        read_rerank_profile(pooled)


@pytest.mark.parametrize(
    ("architectures", "named"), [(["T5EncoderModel"], "a T5EncoderModel"), (None, "a nameless architecture")]
)
def test_any_other_architecture_is_refused_by_name(tmp_path: Path, architectures: Any, named: str) -> None:
    with pytest.raises(ModelLoadError, match=f"is {named}, which is no known reranker"):
        read_rerank_profile(files(tmp_path / "mine", model_type="t5", architectures=architectures))
