"""Infinity, by the source of infinity-emb 0.0.78.

Its routes are under `--url-prefix`, which is empty unless set: then there is no `/v1`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_embed_integrations.served.address import root_of
from qwen_embed_integrations.served.dialects.base import Dialect, Embeds, Reranks, text
from qwen_embed_integrations.served.server_info import ServerInfo

if TYPE_CHECKING:
    from qwen_embed_integrations.served.connection import Flow
    from qwen_embed_integrations.served.questions import Questions
    from qwen_embed_integrations.served.server_info import Task

# INFINITY_MAX_CLIENT_BATCH_SIZE, which it does not tell.
_MAX_BATCH = 2048


def recognise(questions: Questions) -> Flow[bool]:
    """Ask whether it is Infinity, with a prefix of `/v1` or without one."""
    owner = yield from questions.owner()
    return owner == "infinity" or (owner is None and (yield from questions.owner("/models")) == "infinity")


def describe(questions: Questions) -> Flow[ServerInfo]:
    """Ask what it runs."""
    listed = (yield from questions.listed()) or (yield from questions.listed("/models"))
    said = listed.get("capabilities")
    abilities = set(map(str, said)) if isinstance(said, list) else set()
    task: Task | None = None
    if len(abilities & {"embed", "rerank"}) == 1:
        task = "embed" if "embed" in abilities else "rerank"
    return ServerInfo(kind="infinity", task=task, model=text(listed.get("id")))


DIALECT = Dialect(
    name="infinity",
    title="Infinity",
    recognise=recognise,
    describe=describe,
    embeds=Embeds(paths=lambda base_url: ("embeddings", f"{root_of(base_url)}/embeddings"), max_batch=_MAX_BATCH),
    reranks=Reranks(
        paths=lambda base_url, _: ("rerank", f"{root_of(base_url)}/rerank"),
        instruction=lambda _: "lost",
        max_batch=_MAX_BATCH,
    ),
)
