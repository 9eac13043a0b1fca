"""Every profile against what was published, written down a second time."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from qwen_embed_integrations.profiles import PROFILES, ModelProfile, RerankProfile, profile_for

QWEN_QUERY = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
MXBAI_QUERY = "Represent this sentence for searching relevant passages: "
DASHSCOPE_SIZES = (64, 128, 256, 512, 768, 1024, 1536, 2048)

QWEN: dict[str, Any] = {
    "max_tokens": 32768,
    "pooling": "last",
    "normalize": True,
    "query": QWEN_QUERY,
    "takes_instruction": True,
    "min_dimensions": 32,
    "appended_token": "<|endoftext|>",
    "architecture": "qwen3",
    "license": "Apache-2.0",
}
MXBAI: dict[str, Any] = {
    "max_tokens": 512,
    "pooling": "cls",
    "query": MXBAI_QUERY,
    "takes_instruction": True,
    "min_dimensions": 1,
    "architecture": "bert",
    "license": "Apache-2.0",
}
JINA: dict[str, Any] = {
    "max_tokens": 8192,
    "pooling": "mean",
    "architecture": "jina_bert",
    "license": "Apache-2.0",
}
OPENAI: dict[str, Any] = {"max_tokens": 8192, "min_dimensions": 1, "sends_dimensions": True, "max_batch": 2048}

# What a row leaves out must be as here.
UNSAID: dict[str, Any] = {
    "pooling": None,
    "normalize": False,
    "query": "",
    "document": "",
    "takes_instruction": False,
    "min_dimensions": None,
    "listed_dimensions": (),
    "sends_dimensions": False,
    "max_batch": None,
    "base64": True,
    "appended_token": None,
    "architecture": None,
    "parameters": None,
    "license": None,
}
EMBEDDING: dict[str, dict[str, Any]] = {
    "Qwen/Qwen3-Embedding-0.6B": {**QWEN, "dimensions": 1024, "parameters": 595_776_512},
    "Qwen/Qwen3-Embedding-4B": {**QWEN, "dimensions": 2560, "parameters": 4_021_774_336},
    "Qwen/Qwen3-Embedding-8B": {**QWEN, "dimensions": 4096, "parameters": 7_567_295_488},
    "mixedbread-ai/mxbai-embed-large-v1": {**MXBAI, "dimensions": 1024, "parameters": 335_141_888},
    "mixedbread-ai/mxbai-embed-2d-large-v1": {**MXBAI, "dimensions": 1024, "parameters": 335_141_888},
    # Whether this size wants the sentence is not known, so it is not put there unasked.
    "mixedbread-ai/mxbai-embed-xsmall-v1": {
        **MXBAI,
        "dimensions": 384,
        "max_tokens": 4096,
        "pooling": "mean",
        "query": "",
        "parameters": 24_089_472,
    },
    "jinaai/jina-embeddings-v2-small-en": {**JINA, "dimensions": 512, "parameters": 32_690_688},
    "jinaai/jina-embeddings-v2-base-en": {**JINA, "dimensions": 768, "parameters": 137_368_320},
    "jinaai/jina-embeddings-v2-base-de": {**JINA, "dimensions": 768, "parameters": 160_813_824},
    "jinaai/jina-embeddings-v2-base-zh": {**JINA, "dimensions": 768, "parameters": 160_813_824},
    "jinaai/jina-embeddings-v2-base-code": {**JINA, "dimensions": 768, "parameters": 160_869_120},
    "text-embedding-3-small": {**OPENAI, "dimensions": 1536},
    "text-embedding-3-large": {**OPENAI, "dimensions": 3072},
    "text-embedding-v4": {
        "dimensions": 1024,
        "max_tokens": 8192,
        "listed_dimensions": DASHSCOPE_SIZES,
        "sends_dimensions": True,
        "max_batch": 10,
        "base64": False,
    },
}

QWEN_RERANK: dict[str, Any] = {
    "method": "token_logits",
    "max_tokens": 8192,
    "true_token": "yes",
    "false_token": "no",
    "default_instruction": "Given a web search query, retrieve relevant passages that answer the query",
    "takes_instruction": True,
    "architecture": "qwen3",
}
MXBAI_V1: dict[str, Any] = {
    "method": "cross_encoder",
    "max_tokens": 512,
    "true_token": "",
    "false_token": "",
    "default_instruction": None,
    "takes_instruction": False,
    "architecture": "deberta-v2",
}
MXBAI_V2: dict[str, Any] = {
    "method": "token_logits",
    "max_tokens": 8192,
    "true_token": "1",
    "false_token": "0",
    "default_instruction": None,
    "takes_instruction": True,
    "architecture": "qwen2",
}
RERANK: dict[str, dict[str, Any]] = {
    "Qwen/Qwen3-Reranker-0.6B": {**QWEN_RERANK, "parameters": 595_776_512},
    "Qwen/Qwen3-Reranker-4B": {**QWEN_RERANK, "parameters": 4_021_784_576},
    "Qwen/Qwen3-Reranker-8B": {**QWEN_RERANK, "parameters": 8_188_548_096},
    "mixedbread-ai/mxbai-rerank-xsmall-v1": {**MXBAI_V1, "parameters": 70_830_337},
    "mixedbread-ai/mxbai-rerank-base-v1": {**MXBAI_V1, "parameters": 184_422_913},
    "mixedbread-ai/mxbai-rerank-large-v1": {**MXBAI_V1, "parameters": 435_062_785},
    "mixedbread-ai/mxbai-rerank-base-v2": {**MXBAI_V2, "parameters": 494_032_768},
    "mixedbread-ai/mxbai-rerank-large-v2": {**MXBAI_V2, "parameters": 1_543_714_304},
}


def test_the_tables_cover_every_profile_and_no_other() -> None:
    assert {profile.name for profile in PROFILES} == {*EMBEDDING, *RERANK}
    assert len(PROFILES) == len(EMBEDDING) + len(RERANK)


@pytest.mark.parametrize("name", EMBEDDING)
def test_an_embedding_profile_says_what_was_published(name: str) -> None:
    profile = profile_for(name)
    assert isinstance(profile, ModelProfile)
    expected = {**UNSAID, **EMBEDDING[name]}
    found = {key: getattr(profile, key) for key in expected if key not in ("query", "document")}
    found |= {"query": profile.prefix("query"), "document": profile.prefix("document")}
    assert found == expected


@pytest.mark.parametrize("name", RERANK)
def test_a_rerank_profile_says_what_was_published(name: str) -> None:
    profile = profile_for(name)
    assert isinstance(profile, RerankProfile)
    expected = {**RERANK[name], "license": "Apache-2.0"}
    assert {key: getattr(profile, key) for key in expected} == expected


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_every_profile_names_its_sources(profile: ModelProfile | RerankProfile) -> None:
    assert profile.sources
    assert all(source.strip() for source in profile.sources)
    assert len(set(profile.sources)) == len(profile.sources)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_a_profile_cannot_be_changed(profile: ModelProfile | RerankProfile) -> None:
    for field in fields(profile):
        with pytest.raises(FrozenInstanceError):
            setattr(profile, field.name, None)
        hash(getattr(profile, field.name))
