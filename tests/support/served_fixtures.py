"""Fixtures of models behind the loopback server; a folder's conftest imports those it wants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import loopback
import tiny
from qwen_embed_integrations import Embedder, Reranker
from qwen_embed_integrations.served import recognition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a server time to say what it is, however busy the machine."""
    monkeypatch.setattr(recognition, "_HOLD_BACK", 60.0)


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
