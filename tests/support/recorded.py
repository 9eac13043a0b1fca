"""Texts and values that the recorded replies of servers (`tests/served/wire`) are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Of one server: its requests and replies, by what they show.
Recording = dict[str, dict[str, Any]]
# Play a recording: its answers to GET, and of its other answers those that are named.
Replay = Callable[..., Recording]

TEXTS = ["Hello world!", "yes"]
VECTORS = [[0.5, 0.5, 0.5, 0.5], [0.5, -0.5, 0.5, -0.5]]
QUERY, DOCUMENTS = "search engine", ["the quick brown fox", "yes no query", "retrieval search engine"]
RANKED = [(2, 0.9), (0, 0.25), (1, 0.125)]
QWEN3_RERANKER = "Qwen/Qwen3-Reranker-0.6B"
