"""Every model's profile against one query and one document, written as the model reads them.

A new model is one row in `EMBEDDING` or `RERANK`. Its published numbers, where there are any, stand in
`doctor/data/golden.py`, which the doctor compares running servers with; here they are compared with the weights, where
`QWEN_EMBED_TEST_MODELS` names a folder that holds them (`Qwen3-Embedding-0.6B/` and so on).
"""

from __future__ import annotations

import os
import re
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest

from qwen_embed_integrations import Embedder, Reranker
from qwen_embed_integrations.doctor.data.golden import SCORES, VECTORS
from qwen_embed_integrations.profiles import PROFILES, ModelProfile, RerankProfile, profile_for

QUERY = "What is the capital of China?"
DOCUMENT = "The capital of China is Beijing."
TOLERANCE = 0.02  # several of the published numbers were computed in bfloat16
EMBEDDING_PROFILES = [profile for profile in PROFILES if isinstance(profile, ModelProfile)]
RERANK_PROFILES = [profile for profile in PROFILES if isinstance(profile, RerankProfile)]


@dataclass(frozen=True)
class Embedding:
    """What an embedding model reads for `QUERY` and `DOCUMENT`, what it gives, and how a hosted API is asked for it."""

    query: str
    document: str
    pooling: str | None
    dimensions: int
    smallest: int | None = None  # None: not to be cut
    max_tokens: int = 8192
    sends_dimensions: bool = False
    max_batch: int | None = None
    base64: bool = True


@dataclass(frozen=True)
class Rerank:
    """What a reranker reads for `QUERY` and `DOCUMENT`, and between which two tokens it decides."""

    prompt: str | None  # None: the pair as it is, in a cross-encoder
    tokens: tuple[str, str] | None = None
    max_tokens: int = 8192


QWEN3 = Embedding(
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\n"
    "Query:What is the capital of China?<|endoftext|>",
    "The capital of China is Beijing.<|endoftext|>",
    "last",
    dimensions=1024,
    smallest=32,
    max_tokens=32768,
)
MXBAI = Embedding(
    "Represent this sentence for searching relevant passages: What is the capital of China?",
    DOCUMENT,
    "cls",
    dimensions=1024,
    smallest=1,
    max_tokens=512,
)
JINA_V2 = Embedding(QUERY, DOCUMENT, "mean", dimensions=768)
OPENAI = Embedding(QUERY, DOCUMENT, None, dimensions=1536, smallest=1, sends_dimensions=True, max_batch=2048)

EMBEDDING: dict[str, Embedding] = {
    "Qwen/Qwen3-Embedding-0.6B": QWEN3,
    "Qwen/Qwen3-Embedding-4B": replace(QWEN3, dimensions=2560),
    "Qwen/Qwen3-Embedding-8B": replace(QWEN3, dimensions=4096),
    "mixedbread-ai/mxbai-embed-large-v1": MXBAI,
    "mixedbread-ai/mxbai-embed-2d-large-v1": MXBAI,
    # Whether this size wants the sentence is not known, so it is not put there by default.
    "mixedbread-ai/mxbai-embed-xsmall-v1": replace(MXBAI, query=QUERY, pooling="mean", dimensions=384, max_tokens=4096),
    "jinaai/jina-embeddings-v2-small-en": replace(JINA_V2, dimensions=512),
    "jinaai/jina-embeddings-v2-base-en": JINA_V2,
    "jinaai/jina-embeddings-v2-base-de": JINA_V2,
    "jinaai/jina-embeddings-v2-base-zh": JINA_V2,
    "jinaai/jina-embeddings-v2-base-code": JINA_V2,
    "text-embedding-3-small": OPENAI,
    "text-embedding-3-large": replace(OPENAI, dimensions=3072),
    "text-embedding-v4": replace(OPENAI, dimensions=1024, smallest=64, max_batch=10, base64=False),
}

QWEN3_RERANK = Rerank(
    "<|im_start|>system\n"
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. Note that "
    'the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
    "<Instruct>: Given a web search query, retrieve relevant passages that answer the query\n"
    "<Query>: What is the capital of China?\n"
    "<Document>: The capital of China is Beijing.<|im_end|>\n"
    "<|im_start|>assistant\n"
    "<think>\n\n</think>\n\n",
    tokens=("yes", "no"),
)
MXBAI_V1 = Rerank(None, max_tokens=512)
MXBAI_V2 = Rerank(
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n"
    "query: What is the capital of China?\n"
    "document: The capital of China is Beijing.\n"
    "You are a search relevance expert who evaluates how well documents match search queries. For each "
    "query-document pair, carefully analyze the semantic relationship between them, then provide your binary "
    "relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:<|im_end|>\n<|im_start|>assistant\n",
    tokens=("1", "0"),
)
RERANK: dict[str, Rerank] = {
    "Qwen/Qwen3-Reranker-0.6B": QWEN3_RERANK,
    "Qwen/Qwen3-Reranker-4B": QWEN3_RERANK,
    "Qwen/Qwen3-Reranker-8B": QWEN3_RERANK,
    "mixedbread-ai/mxbai-rerank-xsmall-v1": MXBAI_V1,
    "mixedbread-ai/mxbai-rerank-base-v1": MXBAI_V1,
    "mixedbread-ai/mxbai-rerank-large-v1": MXBAI_V1,
    "mixedbread-ai/mxbai-rerank-base-v2": MXBAI_V2,
    "mixedbread-ai/mxbai-rerank-large-v2": MXBAI_V2,
}


def test_every_profile_has_its_row_and_every_row_its_profile() -> None:
    assert sorted(profile.name for profile in EMBEDDING_PROFILES) == sorted(EMBEDDING)
    assert sorted(profile.name for profile in RERANK_PROFILES) == sorted(RERANK)


@pytest.mark.parametrize("name", EMBEDDING)
def test_an_embedding_model_reads_and_gives_what_its_authors_meant(name: str) -> None:
    profile = profile_for(name)
    assert isinstance(profile, ModelProfile)
    end = profile.appended_token or ""
    sizes = profile.listed_dimensions
    assert EMBEDDING[name] == Embedding(
        query=profile.prefix("query") + QUERY + end,
        document=profile.prefix("document") + DOCUMENT + end,
        pooling=profile.pooling,
        dimensions=profile.dimensions or 0,
        smallest=min(sizes) if sizes else profile.min_dimensions,
        max_tokens=profile.max_tokens or 0,
        sends_dimensions=profile.sends_dimensions,
        max_batch=profile.max_batch,
        base64=profile.base64,
    )


@pytest.mark.parametrize("name", RERANK)
def test_a_reranker_reads_what_its_authors_meant(name: str) -> None:
    profile = profile_for(name)
    assert isinstance(profile, RerankProfile)
    by_prompt = profile.method == "token_logits"
    assert by_prompt or profile.method == "cross_encoder"
    assert RERANK[name] == Rerank(
        prompt=profile.lead(QUERY) + DOCUMENT + profile.tail if by_prompt else None,
        tokens=(profile.true_token, profile.false_token) if by_prompt else None,
        max_tokens=profile.max_tokens or 0,
    )


# --- what holds for all ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_every_profile_names_its_sources(profile: ModelProfile | RerankProfile) -> None:
    assert profile.sources
    assert all(source == source.strip() != "" for source in profile.sources)
    assert len(set(profile.sources)) == len(profile.sources)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_a_profile_cannot_be_changed(profile: ModelProfile | RerankProfile) -> None:
    for field in fields(profile):
        with pytest.raises(FrozenInstanceError):
            setattr(profile, field.name, None)
        hash(getattr(profile, field.name))


@pytest.mark.parametrize("profile", EMBEDDING_PROFILES, ids=lambda profile: profile.name)
def test_the_sizes_of_vectors_make_sense(profile: ModelProfile) -> None:
    assert profile.dimensions is not None
    if profile.listed_dimensions:
        assert profile.min_dimensions is None
        assert profile.dimensions in profile.listed_dimensions
        assert list(profile.listed_dimensions) == sorted(set(profile.listed_dimensions))
        assert profile.listed_dimensions[0] > 0
    elif profile.min_dimensions is not None:
        assert 0 < profile.min_dimensions < profile.dimensions


@pytest.mark.parametrize("profile", EMBEDDING_PROFILES, ids=lambda profile: profile.name)
def test_braces_in_a_prompt_are_the_instructions_place(profile: ModelProfile) -> None:
    assert set(re.findall(r"\{.*?\}", profile.query_prefix)) <= {"{instruction}"}
    assert "{" not in profile.document_prefix
    assert profile.takes_instruction or profile.default_instruction is None


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_what_runs_in_process_has_weights_and_what_is_hosted_has_none(profile: ModelProfile | RerankProfile) -> None:
    local = profile.architecture is not None
    assert (profile.parameters is not None) == (profile.license is not None) == local
    if isinstance(profile, ModelProfile):
        assert (profile.pooling is not None) == local
        assert local or (profile.max_batch or 0) > 0
        assert not (local and profile.sends_dimensions)  # cut here: servers ignore, refuse or mishandle the field


@pytest.mark.parametrize("profile", RERANK_PROFILES, ids=lambda profile: profile.name)
def test_a_prompt_is_there_where_a_prompt_is_scored(profile: RerankProfile) -> None:
    body = profile.body if isinstance(profile.body, str) else "".join(profile.body)
    parts = (profile.prefix, body, profile.suffix, profile.true_token, profile.false_token)
    if profile.method == "token_logits":
        assert all(parts)
        assert profile.true_token != profile.false_token
        assert (body.count("{query}"), body.count("{document}")) == (1, 1)
        assert body.index("{query}") < body.index("{document}")  # documents of one query share what is before
    else:
        assert not any(parts)
        assert not profile.takes_instruction


# --- published numbers -------------------------------------------------------------------------------------------


def weights(name: str) -> Path:
    folder = Path(os.environ.get("QWEN_EMBED_TEST_MODELS", "nowhere")) / name.rpartition("/")[2]
    if not folder.is_dir():
        pytest.skip(f"needs the weights of {name} in the folder that QWEN_EMBED_TEST_MODELS names")
    return folder


@pytest.mark.parametrize("name", VECTORS)
def test_the_weights_give_the_published_cosines(name: str) -> None:
    with Embedder.local(weights(name), dtype="float32") as embedder:
        for golden in VECTORS[name]:
            queries = embedder.embed_queries(list(golden.queries))
            documents = embedder.embed_documents(list(golden.documents))
            np.testing.assert_allclose(queries @ documents.T, golden.cosines, atol=TOLERANCE, err_msg=golden.source)


@pytest.mark.parametrize("name", SCORES)
def test_the_weights_give_the_published_scores(name: str) -> None:
    golden = SCORES[name]
    with Reranker.local(weights(name), dtype="float32") as reranker:
        ranked = reranker.rerank(golden.query, list(golden.documents))
    scores = [item.score for item in sorted(ranked, key=lambda item: item.index)]
    np.testing.assert_allclose(scores, golden.scores, atol=TOLERANCE, err_msg=golden.source)
