"""text-embeddings-inference, by its source at 1.9.3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_embed_integrations.served.address import root_of
from qwen_embed_integrations.served.dialects.base import Body, Dialect, Reranks, text, whole
from qwen_embed_integrations.server_info import ServerInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_embed_integrations.served.flow import Flow
    from qwen_embed_integrations.served.questions import Questions


def recognise(questions: Questions) -> Flow[bool]:
    """Ask whether it is TEI, which lists no models."""
    if (yield from questions.owner()) is not None:
        return False
    return isinstance((yield from questions.ask("/info")).get("model_type"), dict)


def describe(questions: Questions) -> Flow[ServerInfo]:
    """Ask what it runs."""
    said = yield from questions.ask("/info")
    kinds = said.get("model_type")
    kinds = kinds if isinstance(kinds, dict) else {}
    embedding = kinds.get("embedding")
    return ServerInfo(
        kind="tei",
        version=text(said.get("version")),
        task="embed" if "embedding" in kinds else "rerank" if "reranker" in kinds else None,
        model=text(said.get("model_id")),
        max_batch=whole(said.get("max_client_batch_size")),
        max_tokens=whole(said.get("max_input_length")),
        pooling=text(embedding.get("pooling")) if isinstance(embedding, dict) else None,
    )


def rerank_body(_model: str, query: str, documents: Sequence[str], _instruction: str | None) -> Body:
    """Build TEI's form: `texts`, one model, no instruction."""
    return {"query": query, "texts": list(documents), "raw_scores": False, "return_text": False}


DIALECT = Dialect(
    name="tei",
    title="text-embeddings-inference",
    recognise=recognise,
    describe=describe,
    # Its rerank route is at the root.
    reranks=Reranks(
        paths=lambda base_url, _: (f"{root_of(base_url)}/rerank",), body=rerank_body, instruction=lambda _: "lost"
    ),
)
