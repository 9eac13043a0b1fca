"""Models that only a hosted API serves: OpenAI's, and Alibaba Cloud's hosted Qwen3-Embedding.

Their size, weights' licence and pooling are not published.
"""

from __future__ import annotations

from qwen_embed_integrations.profiles.types import ModelProfile


def _openai(size: str, dimensions: int) -> ModelProfile:
    return ModelProfile(
        name=f"text-embedding-3-{size}",
        dimensions=dimensions,
        max_tokens=8192,
        min_dimensions=1,  # "any smaller positive integer"
        sends_dimensions=True,
        max_batch=2048,
        sources=(
            "developers.openai.com/api/reference/resources/embeddings (length, texts a request, dimensions)",
            "openai/openai-openapi @ f85dbe2 (limits, encodings)",
        ),
    )


PROFILES: tuple[ModelProfile, ...] = (
    _openai("small", 1536),
    _openai("large", 3072),
    ModelProfile(
        name="text-embedding-v4",
        dimensions=1024,
        max_tokens=8192,
        # No query prefix: this API takes an instruction only on its native endpoint, and what one put into the text
        # does is not documented.
        listed_dimensions=(64, 128, 256, 512, 768, 1024, 1536, 2048),
        sends_dimensions=True,
        max_batch=10,
        base64=False,
        sources=(
            "help.aliyun.com Model Studio, text-embedding-quick-start (dimensions, length, texts a request)",
            "help.aliyun.com Model Studio, text embedding synchronous API (encodings, instruction)",
        ),
    ),
)
