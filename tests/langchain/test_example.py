from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from loopback import Answer, Request, Server

EXAMPLE = Path(__file__).parents[2] / "examples" / "langchain_rag.py"
QUESTION = "How do I merge several sorted inputs?"


@pytest.mark.usefixtures("minilm")
def test_the_example_finds_the_passage_offline() -> None:
    done = subprocess.run(  # noqa: S603 our own script
        [sys.executable, EXAMPLE, QUESTION, "-k", "2"], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    first, second = [line for line in done.stdout.splitlines() if line.startswith("[")]
    assert first.startswith("[heapq.merge {'cosine': 0.")
    assert second
    assert f"Question: {QUESTION}" in done.stdout


def test_the_example_reranks_and_answers_with_servers(
    server: Server, reranker_server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts: list[str] = []

    def chat(request: Request) -> Answer | None:
        if not request.path.endswith("/chat/completions"):
            return None
        prompts.append(request.body["messages"][0]["content"])
        message = {"role": "assistant", "content": "Use heapq.merge."}
        return 200, {"id": "1", "object": "chat.completion", "choices": [{"index": 0, "message": message}]}, {}

    server.reply(chat)
    urls = ["--base-url", server.base_url, "--rerank-url", reranker_server.base_url, "--llm-url", server.base_url]
    # Without Chroma the example keeps its vectors in memory.
    monkeypatch.setitem(sys.modules, "langchain_chroma", None)
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), QUESTION, *urls, "-k", "3"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert capsys.readouterr().out == "Use heapq.merge.\n"
    assert prompts[0].count("'relevance_score'") == 3
    assert len(reranker_server.posted("/rerank")[0].body["documents"]) == 20


def test_the_example_is_short_enough_to_read() -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 100
