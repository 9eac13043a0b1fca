"""A tokenizer reads as its tokenizer.json says and ends inputs as the model wants, or is refused."""

from __future__ import annotations

import json
import logging
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import tokenizers
import transformers

import checkpoints
from qwen_embed_integrations import Embedder, ModelProfile, Reranker
from qwen_embed_integrations.errors import ModelLoadError
from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles
from qwen_embed_integrations.local.checkpoint.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

END = "<|endoftext|>"
TEXT = "the quick brown fox"
LONG = "quick brown fox " * 600


def edited(source: Path, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    shutil.copytree(source, folder)
    said = checkpoints.read_json(folder / "tokenizer.json")
    change(said)
    (folder / "tokenizer.json").write_text(json.dumps(said))
    return folder


def opened(folder: Path, max_tokens: int = 512) -> Tokenizer:
    return Tokenizer(CheckpointFiles(folder), max_tokens=max_tokens, long_text="truncate", appended_token=END)


def ending(name: str, *tokens: str) -> Callable[[dict[str, Any]], object]:
    """Let a tokenizer.json put tokens after a text (and `name` before it)."""

    def change(said: dict[str, Any]) -> None:
        ids = {token["content"]: token["id"] for token in said["added_tokens"]}
        pieces: list[Any] = [{"SpecialToken": {"id": token, "type_id": 0}} for token in (name, *tokens) if token]
        text = {"Sequence": {"id": "A", "type_id": 0}}
        pieces.insert(1 if name else 0, text)
        said["post_processor"] = {
            "type": "TemplateProcessing",
            "single": pieces,
            "pair": [*pieces, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {
                token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in (name, *tokens) if token
            },
        }

    return change


@pytest.mark.parametrize("tokens", [(), ("<|im_end|>",), (END, END), ("<|im_end|>", END)])
def test_a_tokenizer_that_ends_inputs_otherwise_is_mended_and_says_so(
    tiny_qwen3: Path, tmp_path: Path, tokens: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    wanted = opened(tiny_qwen3).encode([TEXT, LONG])
    assert not caplog.records
    found = opened(edited(tiny_qwen3, tmp_path / "other", ending("", *tokens))).encode([TEXT, LONG])
    assert found == wanted
    assert [(each.levelno, "ended as the model wants" in each.message) for each in caplog.records] == [
        (logging.WARNING, True)
    ]


def test_a_token_before_the_text_stays_when_its_end_is_mended(tiny_qwen3: Path, tmp_path: Path) -> None:
    right = opened(edited(tiny_qwen3, tmp_path / "right", ending("<|im_start|>", END)))
    mended = opened(edited(tiny_qwen3, tmp_path / "wrong", ending("<|im_start|>", "<|im_end|>")))
    assert right._ends is None
    assert mended._ends is not None
    assert mended.encode([TEXT, LONG]) == right.encode([TEXT, LONG])


def test_a_tokenizer_without_the_token_that_ends_inputs_is_refused(tiny_bert: Path) -> None:
    profile = ModelProfile(name="mine", appended_token=END)
    with pytest.raises(ModelLoadError, match="no token"):
        Embedder.local(tiny_bert, device="cpu", profile=profile)


def test_a_tokenizer_that_transformers_rebuilds_otherwise_is_read_as_its_file_says(
    tiny_bert: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = edited(tiny_bert, tmp_path / "tiny", lambda said: said.update(pre_tokenizer={"type": "WhitespaceSplit"}))
    checkpoints.edit_json(folder / "tokenizer_config.json", tokenizer_class="BertTokenizer")
    text = "the dog. it's well-known"
    wanted = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids
    assert transformers.AutoTokenizer.from_pretrained(folder)(text)["input_ids"] != wanted
    found = Tokenizer(CheckpointFiles(folder), max_tokens=None, long_text="truncate")
    assert found.encode([text]).sequences == [wanted]
    assert "the file is followed" in caplog.text


def test_settings_beside_the_file_may_change_the_case(tiny_bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "tiny")
    checkpoints.edit_json(folder / "tokenizer_config.json", tokenizer_class="BertTokenizer", do_lower_case=False)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    ours = Tokenizer(CheckpointFiles(folder), max_tokens=None, long_text="truncate")
    assert ours.encode(["The Fox"]).sequences == [theirs("The Fox")["input_ids"]]


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tmp_path: Path) -> None:
    folder = checkpoints.qwen3_embedding(tmp_path / "tiny", vocab_size=100)
    with pytest.raises(ModelLoadError, match="has 100 token embeddings"):
        Embedder.local(folder, device="cpu")


def test_a_broken_tokenizer_file_is_refused(tiny_bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "tiny")
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "Strange"}}')
    with pytest.raises(ModelLoadError, match="no tokenizer that can be loaded"):
        Embedder.local(folder, device="cpu")


def test_a_reranker_whose_tokenizer_splits_the_marks_of_its_prompt_is_refused(
    tiny_reranker: Path, tmp_path: Path
) -> None:
    def forget(said: dict[str, Any]) -> None:
        said["added_tokens"] = [each for each in said["added_tokens"] if each["content"] != "<|im_start|>"]

    folder = edited(tiny_reranker, tmp_path / "Qwen3-Reranker-0.6B", forget)
    with pytest.raises(ModelLoadError, match=r"splits <\|im_start\|>"):
        Reranker.local(folder, device="cpu")
