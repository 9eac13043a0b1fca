"""Mixedbread's hosted API, by the SDK mixedbread 0.54.0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_embed_integrations.served.dialects.base import Body, Dialect, Reranks

if TYPE_CHECKING:
    from collections.abc import Sequence


def rerank_body(model: str, query: str, documents: Sequence[str], _instruction: str | None) -> Body:
    """Build Mixedbread's form: `input`, and `top_k`, since it would cut to ten."""
    return {
        "model": model,
        "query": query,
        "input": list(documents),
        "top_k": len(documents),
        "return_input": False,
    }


DIALECT = Dialect(
    name="mixedbread",
    title="Mixedbread's API",
    hosts=("api.mixedbread.com", "api.mixedbread.ai"),
    reranks=Reranks(paths=lambda _url, _server: ("reranking",), body=rerank_body, top_n=False),
)
