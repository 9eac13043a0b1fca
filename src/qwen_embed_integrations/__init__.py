"""Qwen3, mxbai and Jina embeddings and rerankers, served or local, with the vectors their authors meant."""

from __future__ import annotations

from qwen_embed_integrations import errors
from qwen_embed_integrations.embedder import Embedder
from qwen_embed_integrations.profiles import ModelProfile, RerankProfile, profile_for
from qwen_embed_integrations.reranker import RankedDocument, Reranker
from qwen_embed_integrations.server_info import ServerInfo

__all__ = [
    "Embedder",
    "ModelProfile",
    "RankedDocument",
    "RerankProfile",
    "Reranker",
    "ServerInfo",
    "errors",
    "profile_for",
]
