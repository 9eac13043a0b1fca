from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from served_fixtures import embedder, reranker, time_enough

if TYPE_CHECKING:
    from collections.abc import Callable

    import loopback

    Recorded = dict[str, dict[str, Any]]

__all__ = ["embedder", "reranker", "time_enough"]


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
