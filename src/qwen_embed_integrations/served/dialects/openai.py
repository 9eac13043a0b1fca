"""OpenAI's own API: 2048 texts a request (openai-openapi f85dbe2), no reranking."""

from __future__ import annotations

from qwen_embed_integrations.served.dialects.base import Dialect, Embeds

DIALECT = Dialect(
    name="openai",
    title="OpenAI",
    hosts=("api.openai.com",),
    embeds=Embeds(max_batch=2048),
    advice={"rerank": "Point `base_url` at a reranker that you serve, or at an API that reranks."},
)
