"""Alibaba Cloud's DashScope in its OpenAI-compatible mode, by its documentation: 10 texts a request, floats only."""

from __future__ import annotations

import re

from qwen_embed_integrations.served.dialects.base import Dialect, Embeds, Reranks, instruct_body


def _beside(base_url: str, path: str) -> str:
    # Embeddings and reranking live under two prefixes of the same host.
    return re.sub(r"(/compatible-(mode|api))?/v1$", "", base_url) + path


DIALECT = Dialect(
    name="dashscope",
    title="DashScope",
    hosts=("dashscope*.aliyuncs.com",),
    embeds=Embeds(
        paths=lambda base_url: (_beside(base_url, "/compatible-mode/v1/embeddings"),), base64=False, max_batch=10
    ),
    reranks=Reranks(
        paths=lambda base_url, _: (_beside(base_url, "/compatible-api/v1/reranks"),),
        body=instruct_body,
        instruction=lambda _: "sent",
        max_batch=500,
    ),
)
