"""The RAG benchmark: index a corpus into Chroma, retrieve, rerank, and tell what is better and how sure that is."""

from __future__ import annotations

from qwen_embed_integrations.benchmark.datasets import Dataset, load
from qwen_embed_integrations.benchmark.index import IndexSettings
from qwen_embed_integrations.benchmark.results import Results
from qwen_embed_integrations.benchmark.runner import run
from qwen_embed_integrations.benchmark.systems import DenseSystem, FusionSystem, LexicalSystem, RerankedSystem, System

__all__ = [
    "Dataset",
    "DenseSystem",
    "FusionSystem",
    "IndexSettings",
    "LexicalSystem",
    "RerankedSystem",
    "Results",
    "System",
    "load",
    "run",
]
