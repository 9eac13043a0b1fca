from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import checkpoints
from qwen_embed_integrations.serve.checkpoint import cached, open_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    from qwen_embed_integrations.serve.checkpoint import Checkpoint

MODEL, COMMIT = "intfloat/multilingual-e5-large", "0123456789abcdef"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache of this machine, with a model on its main branch."""
    for name in ("HUGGINGFACE_HUB_CACHE", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--intfloat--multilingual-e5-large"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    checkpoints.write_json(folder / "snapshots" / COMMIT / "config.json", {"model_type": "xlm-roberta"})
    return tmp_path


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
@pytest.mark.usefixtures("hub")
def test_what_the_hubs_cache_has_is_found(revision: str | None) -> None:
    found = cached(MODEL, revision)
    assert found is not None
    assert found.family == "xlm-roberta"


@pytest.mark.usefixtures("hub")
def test_what_the_hubs_cache_has_not_is_not_found() -> None:
    assert cached("someone/else") is None
    assert cached(MODEL, "another-branch") is None


@pytest.mark.parametrize(("variable", "below"), [("HF_HOME", "hub"), ("XDG_CACHE_HOME", "huggingface/hub")])
def test_the_cache_is_where_the_hubs_own_variables_say(
    variable: str, below: str, hub: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path_factory.mktemp("root")
    (root / below).parent.mkdir(parents=True, exist_ok=True)
    (root / below).symlink_to(hub)
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv(variable, str(root))
    assert cached(MODEL) is not None


def test_the_layout_is_the_hubs_own(hub: Path) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    theirs = huggingface_hub.try_to_load_from_cache(MODEL, "config.json", cache_dir=hub)
    ours = cached(MODEL)
    assert ours is not None
    assert theirs == str(ours.folder / "config.json")


def checkpoint(folder: Path, modules: tuple[str, ...] = (), pooling: Any = None, **config: Any) -> Checkpoint:
    checkpoints.write_json(folder / "config.json", config)
    listed = [{"type": f"sentence_transformers.models.{kind}", "path": kind} for kind in modules]
    if listed:
        checkpoints.write_json(folder / "modules.json", listed)
        checkpoints.write_json(folder / "Pooling" / "config.json", pooling or {})
    found = open_checkpoint(folder)
    assert found is not None
    return found


def test_embeddinggemma_is_told_from_a_text_generator(tmp_path: Path) -> None:
    embeds = checkpoint(tmp_path / "a", model_type="gemma3_text", use_bidirectional_attention=True)
    writes = checkpoint(tmp_path / "b", model_type="gemma3_text")
    assert (embeds.family, writes.family) == ("embeddinggemma", "gemma3_text")


def test_a_dense_layer_behind_the_pooling_is_seen(tmp_path: Path) -> None:
    assert checkpoint(tmp_path / "a", ("Transformer", "Pooling", "Dense")).projects
    assert not checkpoint(tmp_path / "b", ("Transformer", "Pooling", "Normalize")).projects


def test_contriever_wants_the_mean_without_saying_so(tmp_path: Path) -> None:
    assert checkpoint(tmp_path, architectures=["Contriever"], model_type="bert").pooling == "mean"


def test_another_pooling_than_ours_is_none_of_ours(tmp_path: Path) -> None:
    found = checkpoint(tmp_path, ("Transformer", "Pooling"), {"pooling_mode_weightedmean_tokens": True})
    assert (found.pools, found.pooling) == (True, None)


def test_the_size_of_the_weights_is_the_whole_even_where_parts_are_missing(tmp_path: Path) -> None:
    found = checkpoint(tmp_path)
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"1234")
    assert found.weights == 4
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": 1000}}))
    assert found.weights == 1000
