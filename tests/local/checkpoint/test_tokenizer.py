"""Token ids are those of the checkpoint's tokenizer.json, ended as the model wants, however long the text."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import transformers

import checkpoints
from qwen_embed_integrations import Embedder
from qwen_embed_integrations.errors import InvalidInputError
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


def test_a_text_of_which_no_token_is_left_is_refused(tiny_qwen3: Path, tmp_path: Path) -> None:
    def remove(said: dict[str, Any]) -> None:
        said["normalizer"] = {"type": "Replace", "pattern": {"String": "\u200b"}, "content": ""}
        said["post_processor"] = None

    folder = edited(tiny_qwen3, tmp_path / "bare", remove)
    texts = ["\u200b", TEXT, "\u200b\u200b"]
    bare = Tokenizer(CheckpointFiles(folder), max_tokens=512, long_text="truncate")
    with pytest.raises(InvalidInputError, match="no token") as caught:
        bare.encode(texts)
    assert caught.value.positions == (0, 2)
    assert caught.value.parameter == "texts"
    assert len(opened(folder).encode(texts).sequences[0]) == 1  # the token that ends an input stands for it


def test_the_padding_side_and_what_the_file_says_of_lengths_change_nothing(tiny_qwen3: Path, tmp_path: Path) -> None:
    def fixed(said: dict[str, Any]) -> None:
        said["padding"] = {
            "strategy": {"Fixed": 128},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": END,
        }
        said["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}

    folder = edited(tiny_qwen3, tmp_path / "tiny", fixed)
    checkpoints.edit_json(folder / "tokenizer_config.json", padding_side="right")
    texts = [TEXT, "x", LONG[:900]]
    with Embedder.local(tiny_qwen3, device="cpu", dtype="float32") as left:
        wanted = left.embed_documents(texts)
    with Embedder.local(folder, device="cpu", dtype="float32") as right:
        np.testing.assert_array_equal(right.embed_documents(texts), wanted)


# --- texts that are too long ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("append_eos", [True, False])
def test_a_long_text_is_cut_as_the_official_tokenizer_cuts_it_and_keeps_its_end(
    tiny_qwen3: Path, tmp_path: Path, *, append_eos: bool
) -> None:
    folder = checkpoints.qwen3_embedding(tmp_path / "tiny", append_eos=append_eos)
    official = transformers.AutoTokenizer.from_pretrained(tiny_qwen3)
    for room in (8, 100, 512):
        tokens = opened(folder, room).encode([TEXT, LONG])
        wanted = official([TEXT, LONG], truncation=True, max_length=room)["input_ids"]
        assert list(tokens.sequences) == wanted
        assert [each[-1] for each in tokens.sequences] == [official.convert_tokens_to_ids(END)] * 2
        assert len(tokens.sequences[1]) == room
        assert tokens.shortened == [1]
