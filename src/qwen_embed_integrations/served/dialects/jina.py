"""Jina's hosted API, by its documentation: what others call `encoding_format` is `embedding_type` there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_embed_integrations.served.dialects.base import Body, Dialect, Embeds, Reranks

if TYPE_CHECKING:
    from collections.abc import Sequence


def embedding_body(model: str, texts: Sequence[str], encoding_format: str, dimensions: int | None) -> Body:
    """Build Jina's form of an embedding request."""
    body: Body = {"model": model, "input": list(texts), "embedding_type": encoding_format}
    return body if dimensions is None else body | {"dimensions": dimensions}


DIALECT = Dialect(
    name="jina",
    title="Jina's API",
    hosts=("api.jina.ai",),
    # What its base64 holds is not documented; asking for floats is certain.
    embeds=Embeds(body=embedding_body, base64=False),
    reranks=Reranks(),
)
