"""Checkpoints that are missing, incomplete, unsafe, or would load wrongly are refused with the reason."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file

import checkpoints
from qwen_embed_integrations import Embedder, Reranker
from qwen_embed_integrations.errors import ModelLoadError
from qwen_embed_integrations.local.checkpoint import files
from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles

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


def test_broken_json_is_named(bert: Path) -> None:
    (bert / "modules.json").write_text("{")
    assert "modules.json" in refusal(bert)


def test_an_embedding_model_is_no_reranker(bert: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"Embedder\.local, or Reranker\.over"):
        Reranker.local(bert, device="cpu")


def test_a_classifier_with_several_labels_is_no_reranker(tmp_path: Path) -> None:
    folder = checkpoints.bert(tmp_path / "classifier", "BertForSequenceClassification", num_labels=3)
    with pytest.raises(ModelLoadError, match="3 labels"):
        Reranker.local(folder, device="cpu")


def test_a_cross_encoder_without_its_head_is_refused(tmp_path: Path) -> None:
    folder = checkpoints.bert(tmp_path / "headless")
    checkpoints.edit_json(folder / "config.json", architectures=["BertForSequenceClassification"])
    with pytest.raises(ModelLoadError, match="missing"):
        Reranker.local(folder, device="cpu")


# --- what vectors are known by -------------------------------------------------------------------------------------


def fingerprint(folder: Path | str) -> str:
    with Embedder.local(folder, device="cpu") as loaded:
        return loaded.fingerprint


def test_a_copy_under_another_name_has_the_same_fingerprint(bert: Path, tmp_path: Path) -> None:
    assert fingerprint(shutil.copytree(bert, tmp_path / "elsewhere" / "renamed")) == fingerprint(bert)


def test_a_path_from_home_and_a_relative_one_are_the_same_folder(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert {fingerprint("~/model"), fingerprint("model"), fingerprint(f"{bert}/")} == {fingerprint(bert)}
    assert CheckpointFiles("~/model").name == "model"


def test_a_snapshot_in_the_hubs_cache_is_the_model_it_holds(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As the hub's client lays it out: files by their hash, and links with their names.
    repository = tmp_path / "cache" / "models--some-org--some--model"
    snapshot = repository / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    (repository / "blobs").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(snapshot.name)
    for number, path in enumerate(sorted(path for path in bert.rglob("*") if path.is_file())):
        blob = repository / "blobs" / str(number)
        shutil.copy(path, blob)
        link = snapshot / path.relative_to(bert)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    monkeypatch.setattr(files, "snapshot_download", lambda *_, **__: str(snapshot))
    assert CheckpointFiles(snapshot).name == CheckpointFiles("some-org/some--model").name == "some-org/some--model"
    assert fingerprint(snapshot) == fingerprint("some-org/some--model") == fingerprint(bert)


def test_every_weight_counts(bert: Path, tmp_path: Path) -> None:
    weights = load_file(bert / "model.safetensors")
    digests = {CheckpointFiles(bert).digest()}
    names = list(weights)[::10]
    for number, name in enumerate(names):
        retrained = shutil.copytree(bert, tmp_path / f"again-{number}" / "model")
        save_file(weights | {name: weights[name] + 0.1}, retrained / "model.safetensors", metadata={"format": "pt"})
        digests.add(CheckpointFiles(retrained).digest())
    assert len(digests) == len(names) + 1


@pytest.mark.parametrize(
    "name", ["config_sentence_transformers.json", "1_Pooling/config.json", "tokenizer.json", "tokenizer_config.json"]
)
def test_settings_count(name: str, bert: Path) -> None:
    before = CheckpointFiles(bert).digest()
    (bert / name).write_text((bert / name).read_text() + "\n")
    assert CheckpointFiles(bert).digest() != before


def test_a_vocabulary_in_a_text_file_counts(bert: Path) -> None:
    (bert / "vocab.txt").write_text("[PAD]\n[UNK]\nfox\n")
    before = CheckpointFiles(bert).digest()
    (bert / "vocab.txt").write_text("[PAD]\n[UNK]\ndog\n")
    assert CheckpointFiles(bert).digest() != before


def test_a_changed_prompt_changes_the_fingerprint(bert: Path) -> None:
    before = fingerprint(bert)
    checkpoints.edit_json(bert / "config_sentence_transformers.json", prompts={"query": "find: ", "passage": ""})
    assert fingerprint(bert) != before


def test_files_that_shape_no_vector_do_not_count(bert: Path) -> None:
    before = CheckpointFiles(bert).digest()
    (bert / "README.md").write_text("read me")
    (bert / ".DS_Store").write_bytes(b"\0")
    (bert / "data_config.json").write_text("[]")
    (bert / "onnx").mkdir()
    (bert / "onnx" / "config.json").write_text("{}")
    assert CheckpointFiles(bert).digest() == before
