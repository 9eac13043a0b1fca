"""LangChain: embeddings, document compressors and a reranking retriever over the core."""

from __future__ import annotations

from qwen_embed_integrations.extras import require

require("langchain_core", extra="langchain")

from qwen_embed_integrations.langchain.embedding_rerank import EmbeddingRerank  # noqa: E402 after the check
from qwen_embed_integrations.langchain.local_embeddings import LocalEmbeddings  # noqa: E402
from qwen_embed_integrations.langchain.local_rerank import LocalRerank  # noqa: E402
from qwen_embed_integrations.langchain.rerank_retriever import RerankRetriever  # noqa: E402
from qwen_embed_integrations.langchain.served_embeddings import ServedEmbeddings  # noqa: E402
from qwen_embed_integrations.langchain.served_rerank import ServedRerank  # noqa: E402

__all__ = ["EmbeddingRerank", "LocalEmbeddings", "LocalRerank", "RerankRetriever", "ServedEmbeddings", "ServedRerank"]
