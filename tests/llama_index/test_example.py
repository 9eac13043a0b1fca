from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import llama_index.core
import pytest

if TYPE_CHECKING:
    import loopback

EXAMPLE = Path(__file__).parents[2] / "examples" / "llama_index_rag.py"


def run(*arguments: str) -> str:
    command = [sys.executable, str(EXAMPLE), *arguments]
    # llama-index-core 0.14.0 looks for the splitter's data, which it carries, elsewhere, and would download it.
    data = Path(llama_index.core.__file__).parent / "_static" / "nltk_cache"
    env = os.environ | {"NLTK_DATA": str(data)}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("minilm")
def test_it_runs_offline_and_finds_the_answer() -> None:
    printed = run("How do I merge several sorted inputs?", "--top-k", "2")
    best, question = printed.split("2. ")
    assert "1. heapq.merge" in best
    assert "Query: How do I merge several sorted inputs?" in question


def test_it_runs_against_servers_and_keeps_its_index(
    server: loopback.Server, reranker_server: loopback.Server, tmp_path: Path
) -> None:
    arguments = (
        "--base-url",
        server.base_url,
        "--rerank",
        "Qwen/Qwen3-Reranker-0.6B",
        "--rerank-base-url",
        reranker_server.base_url,
        "--store",
        str(tmp_path),
    )
    assert "1024 dimensions" in run("sort", *arguments)
    indexed = len(server.texts()) - 1
    run("sort", *arguments)
    assert len(server.texts()) == indexed + 2  # the two questions
    assert reranker_server.posted("/rerank")[0].body["query"] == "sort"
