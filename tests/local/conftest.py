from __future__ import annotations

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
    """Texts of all sorts."""
    return checkpoints.sample_texts()
