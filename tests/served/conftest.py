from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import loopback
import tiny
from qwen_embed_integrations import Embedder, Reranker
from qwen_embed_integrations.served import recognition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Recorded = dict[str, dict[str, Any]]


@pytest.fixture(autouse=True)
def _time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a server time to say what it is, however busy the machine."""
    monkeypatch.setattr(recognition, "_HOLD_BACK", 60.0)
    monkeypatch.setattr(recognition, "_HINT_TIMEOUT", 60.0)


@pytest.fixture
def embedder(server: loopback.Server) -> Iterator[Callable[..., Embedder]]:
    """Make an embedder of the tiny model; `answer` may say something else than the right reply."""
    made: list[Embedder] = []

    def make(answer: Callable[[list[str]], loopback.Answer | None] | None = None, **settings: Any) -> Embedder:
        server.reply(loopback.to_embeddings(lambda texts: (answer and answer(texts)) or tiny.answer(texts)))
        settings = {"base_url": server.base_url, "profile": tiny.PROFILE, "max_retries": 0} | settings
        made.append(Embedder.served("tiny", **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def reranker(reranker_server: loopback.Server) -> Iterator[Callable[..., Reranker]]:
    """Make a reranker; `answer` may say something else than the right reply."""
    made: list[Reranker] = []

    def make(
        answer: Callable[[dict[str, Any]], loopback.Answer | None] | None = None,
        model: str = "Qwen/Qwen3-Reranker-0.6B",
        **settings: Any,
    ) -> Reranker:
        if answer is not None:
            reranker_server.reply(loopback.to_rerank(answer))
        settings = {"base_url": reranker_server.base_url, "max_retries": 0} | settings
        made.append(Reranker.served(model, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def replay(server: loopback.Server) -> Callable[..., Recorded]:
    """Play a recorded server: its answers to GET, and of its other answers those that are named."""

    def play(name: str, *names: str) -> Recorded:
        said = json.loads((Path(__file__).parent / "wire" / f"{name}.json").read_text("utf-8"))
        assert said.pop("origin")
        recorded: Recorded = said
        gets = [each for each in recorded.values() if each["method"] == "GET"]
        replies = {(each["method"], each["path"]): each for each in [*gets, *(recorded[each] for each in names)]}

        def answer(request: loopback.Request) -> loopback.Answer:
            found = replies.get((request.method, request.path))
            return (found["status"], found["response"], {}) if found else (404, {"detail": "Not Found"}, {})

        server.reply(answer)
        return recorded

    return play
