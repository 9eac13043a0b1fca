"""A folder's sentence-transformers files say how it is pooled; what is not supported is refused by name."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

import checkpoints
from qwen_embed_integrations import Embedder, ModelProfile
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


@pytest.mark.parametrize("pooling", ["max", ["cls", "mean"], []])
def test_unsupported_pooling_is_refused(bert: Path, pooling: str | list[str]) -> None:
    checkpoints.sentence_transformers_files(bert, pooling=pooling, size=48)
    assert "pools by" in refusal(bert)


def test_an_unsupported_module_is_named(bert: Path) -> None:
    modules = json.loads((bert / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3_LSTM", "type": "sentence_transformers.models.LSTM"})
    checkpoints.write_json(bert / "modules.json", modules)
    assert "LSTM" in refusal(bert)


def test_a_folder_that_does_not_say_how_to_pool_needs_a_profile(tmp_path: Path) -> None:
    folder = checkpoints.bert(tmp_path / "plain")
    assert "how to pool" in refusal(folder)
    with Embedder.local(folder, device="cpu", profile=ModelProfile(name="plain", pooling="mean")) as told:
        assert told.dimensions == 48


def test_a_reranker_is_no_embedding_model(tiny_reranker: Path) -> None:
    assert "Reranker.local" in refusal(tiny_reranker)
