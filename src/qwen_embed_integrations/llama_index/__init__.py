"""LlamaIndex: embeddings and node postprocessors over the core."""

from __future__ import annotations

from qwen_embed_integrations.extras import require

require("llama_index.core", extra="llama-index")

from qwen_embed_integrations.llama_index.embedding_rerank import EmbeddingRerank  # noqa: E402 after the check
from qwen_embed_integrations.llama_index.local_embedding import LocalEmbedding  # noqa: E402
from qwen_embed_integrations.llama_index.local_rerank import LocalRerank  # noqa: E402
from qwen_embed_integrations.llama_index.ranked_node import RankedNode  # noqa: E402
from qwen_embed_integrations.llama_index.served_embedding import ServedEmbedding  # noqa: E402
from qwen_embed_integrations.llama_index.served_rerank import ServedRerank  # noqa: E402

__all__ = ["EmbeddingRerank", "LocalEmbedding", "LocalRerank", "RankedNode", "ServedEmbedding", "ServedRerank"]
