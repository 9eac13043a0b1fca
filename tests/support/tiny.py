"""A model small enough to check by hand, and what the loopback server says for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from loopback import embeddings_reply, vector
from qwen_embed_integrations import ModelProfile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import loopback

SIZE = 8
PROFILE = ModelProfile(
    name="tiny",
    dimensions=SIZE,
    min_dimensions=2,
    query_prefix="Instruct: {instruction}\nQuery:",
    default_instruction="find it",
)


def answer(texts: list[str]) -> loopback.Answer:
    """Return the right reply to these texts."""
    return 200, embeddings_reply(texts, size=SIZE), {}


def reply(rows: Sequence[dict[str, Any]]) -> loopback.Answer:
    """Return a reply of exactly these rows."""
    return 200, {"object": "list", "data": list(rows), "model": "tiny"}, {}


def vectors(texts: Sequence[str]) -> np.ndarray:
    """Return the vectors these texts should end up with."""
    return np.stack([vector(text, SIZE) for text in texts])


def refusing(
    refused: Callable[[str], bool], message: str = "unacceptable text", status: int = 400
) -> Callable[[list[str]], loopback.Answer | None]:
    """Return an answer that refuses every request with one of these texts in it."""

    def refuse(texts: list[str]) -> loopback.Answer | None:
        if any(map(refused, texts)):
            return status, {"object": "error", "message": message, "code": status}, {}
        return None

    return refuse
