"""Infinity, by the source of infinity-emb 0.0.78.

Its routes are under `--url-prefix`, which is empty unless set: then there is no `/v1`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qwen_embed_integrations.served.address import root_of
from qwen_embed_integrations.served.dialects.base import Dialect, Embeds, Reranks, text
from qwen_embed_integrations.served.dialects.examination import Causes
from qwen_embed_integrations.server_info import ServerInfo

if TYPE_CHECKING:
    from qwen_embed_integrations.served.flow import Flow
    from qwen_embed_integrations.served.questions import Questions
    from qwen_embed_integrations.server_info import Task

# INFINITY_MAX_CLIENT_BATCH_SIZE, which it does not tell.
_MAX_BATCH = 2048


def recognise(questions: Questions) -> Flow[bool]:
    """Ask whether it is Infinity, with a prefix of `/v1` or without one."""
    owner = yield from questions.owner()
    return owner == "infinity" or (owner is None and (yield from questions.owner("/models")) == "infinity")


def describe(questions: Questions) -> Flow[ServerInfo]:
    """Ask what it runs."""
    models = (yield from questions.models()) or (yield from questions.models("/models"))
    # A name that is not in the list tells nothing, unless all models are for the same.
    meant = [model for model in models if model.get("id") == questions.model] or models
    abilities = {ability for model in meant for ability in _abilities(model)}
    task: Task | None = None
    if len(abilities) == 1:
        task = "embed" if "embed" in abilities else "rerank"
    return ServerInfo(kind="infinity", task=task, model=text(meant[0].get("id")) if meant else None)


def _abilities(model: dict[str, Any]) -> set[str]:
    capabilities = model.get("capabilities")
    return set(map(str, capabilities)) & {"embed", "rerank"} if isinstance(capabilities, list) else set()


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
    causes=Causes(cut_unnormalized="Infinity cuts after it normalised."),
)
