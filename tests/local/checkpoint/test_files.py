"""Checkpoints that are missing, incomplete, unsafe, or would load wrongly are refused with the reason."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file

import checkpoints
from qwen_embed_integrations import Embedder, ModelProfile, Reranker
from qwen_embed_integrations.errors import ModelLoadError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bert(tiny_bert: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_bert, tmp_path / "model")


def refusal(folder: Path | str) -> str:
    with pytest.raises(ModelLoadError) as caught:
        Embedder.local(folder, device="cpu")
    return str(caught.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert "nothing-here" in refusal(tmp_path / "nothing-here")


def test_a_hub_model_that_cannot_be_fetched_says_so() -> None:
    assert "hub" in refusal("some-org/some-model")


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "config.json" in refusal(tmp_path / "empty")


def test_a_folder_without_weights_is_refused(bert: Path) -> None:
    (bert / "model.safetensors").unlink()
    assert "no weights" in refusal(bert)


def test_a_folder_without_a_tokenizer_is_refused(bert: Path) -> None:
    (bert / "tokenizer.json").unlink()
    assert "no tokenizer" in refusal(bert)


def test_pickled_weights_are_refused(bert: Path) -> None:
    (bert / "model.safetensors").rename(bert / "pytorch_model.bin")
    assert "pickle" in refusal(bert)


def test_a_checkpoint_that_lacks_layers_is_refused_instead_of_filled_with_random_numbers(bert: Path) -> None:
    weights = load_file(bert / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "layer.1." not in name}
    save_file(kept, bert / "model.safetensors", metadata={"format": "pt"})
    assert "missing" in refusal(bert)


def test_a_checkpoint_with_weights_the_model_has_no_place_for_is_refused(bert: Path) -> None:
    weights = load_file(bert / "model.safetensors")
    extra = {"encoder.layer.0.attention.self.distance_embedding.weight": torch.zeros(255, 12)}
    save_file(weights | extra, bert / "model.safetensors", metadata={"format": "pt"})
    assert "no place for" in refusal(bert)


def test_a_checkpoint_without_its_unused_pooler_loads(bert: Path) -> None:
    weights = load_file(bert / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith("pooler.")}
    save_file(kept, bert / "model.safetensors", metadata={"format": "pt"})
    with Embedder.local(bert, device="cpu") as loaded:
        assert loaded.embed_documents(["fox"]).shape == (1, 48)


def test_a_cut_weights_file_is_refused(bert: Path) -> None:
    path = bert / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    assert "could not be loaded" in refusal(bert)


@pytest.mark.parametrize("pooling", ["max", ["cls", "mean"], []])
def test_unsupported_pooling_is_refused(bert: Path, pooling: str | list[str]) -> None:
    checkpoints.sentence_transformers_files(bert, pooling=pooling, size=48)
    assert "pools by" in refusal(bert)


def test_an_unsupported_module_is_named(bert: Path) -> None:
    modules = json.loads((bert / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3_LSTM", "type": "sentence_transformers.models.LSTM"})
    checkpoints.write_json(bert / "modules.json", modules)
    assert "LSTM" in refusal(bert)


def test_broken_json_is_named(bert: Path) -> None:
    (bert / "modules.json").write_text("{")
    assert "modules.json" in refusal(bert)


def test_a_folder_that_does_not_say_how_to_pool_needs_a_profile(tmp_path: Path) -> None:
    folder = checkpoints.bert(tmp_path / "plain")
    assert "how to pool" in refusal(folder)
    with Embedder.local(folder, device="cpu", profile=ModelProfile(name="plain", pooling="mean")) as told:
        assert told.dimensions == 48


def test_an_embedding_model_is_no_reranker(bert: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"Embedder\.local, or Reranker\.over"):
        Reranker.local(bert, device="cpu")


def test_a_reranker_is_no_embedding_model(tiny_reranker: Path) -> None:
    assert "Reranker.local" in refusal(tiny_reranker)


def test_a_classifier_with_several_labels_is_no_reranker(tmp_path: Path) -> None:
    folder = checkpoints.bert(tmp_path / "classifier", "BertForSequenceClassification", num_labels=3)
    with pytest.raises(ModelLoadError, match="3 labels"):
        Reranker.local(folder, device="cpu")


def test_a_cross_encoder_without_its_head_is_refused(tmp_path: Path) -> None:
    folder = checkpoints.bert(tmp_path / "headless")
    checkpoints.edit_json(folder / "config.json", architectures=["BertForSequenceClassification"])
    with pytest.raises(ModelLoadError, match="missing"):
        Reranker.local(folder, device="cpu")


def test_the_fingerprint_follows_the_weights_and_not_the_place(bert: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(bert, tmp_path / "elsewhere" / "model")
    weights = load_file(bert / "model.safetensors")
    prints = [Embedder.local(folder, device="cpu").fingerprint for folder in (bert, moved)]
    for at, name in enumerate(list(weights)[::10]):
        retrained = shutil.copytree(bert, tmp_path / f"again-{at}" / "model")
        save_file(weights | {name: weights[name] + 0.1}, retrained / "model.safetensors", metadata={"format": "pt"})
        prints.append(Embedder.local(retrained, device="cpu").fingerprint)
    assert prints[0] == prints[1]
    assert len(set(prints)) == len(prints) - 1
