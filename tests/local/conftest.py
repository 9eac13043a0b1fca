from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import torch

import checkpoints

if TYPE_CHECKING:
    from pathlib import Path

torch.set_num_threads(1)  # the tests run in parallel processes


@pytest.fixture(scope="session")
def tiny_qwen3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.qwen3_embedding(tmp_path_factory.mktemp("qwen3") / "tiny")


@pytest.fixture(scope="session")
def tiny_reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.qwen3(tmp_path_factory.mktemp("reranker") / "Qwen3-Reranker-0.6B", append_eos=False)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prompts = {"query": "Represent this sentence for searching relevant passages: ", "passage": ""}
    return checkpoints.bert_embedding(tmp_path_factory.mktemp("bert") / "tiny", pooling="cls", prompts=prompts)


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Texts of 1 to about 60 words, in no order, some of them repeated, with newlines and other scripts."""
    draw = random.Random(7)
    spoken = "the quick brown fox jumps over lazy dog search engine yes no query 123 Überraschung 检索"
    words = [*spoken.split(), "def f(x):\n\n"]
    made = [" ".join(draw.choices(words, k=draw.choice([1, 2, 3, 5, 8, 20, 60]))) for _ in range(60)]
    return [*made, made[3], made[3], "x"]
