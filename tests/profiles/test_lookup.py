from __future__ import annotations

from collections import Counter

import pytest

from qwen_embed_integrations.errors import QwenEmbedError, UnknownModelError
from qwen_embed_integrations.profiles import PROFILES, ModelProfile, RerankProfile, profile_for


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_a_profile_is_found_by_each_of_its_names(profile: ModelProfile | RerankProfile) -> None:
    for name in (profile.name, profile.name.rpartition("/")[2], *profile.aliases):
        for spelling in (name, name.lower(), name.upper()):
            assert profile_for(spelling) is profile


def test_no_name_means_two_models() -> None:
    spellings = Counter(
        spelling
        for profile in PROFILES
        for spelling in {
            name.lower() for name in (profile.name, profile.name.rpartition("/")[2], *profile.aliases)
        }  # a set, since a hosted model's name is its own last part
    )
    assert [spelling for spelling, count in spellings.items() if count > 1] == []


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/models/Qwen3-Embedding-0.6B", "Qwen/Qwen3-Embedding-0.6B"),
        ("./Qwen3-Reranker-4B/", "Qwen/Qwen3-Reranker-4B"),
        ("C:\\models\\mxbai-embed-large-v1\\", "mixedbread-ai/mxbai-embed-large-v1"),
        ("openai/text-embedding-3-large", "text-embedding-3-large"),
        ("Xenova/jina-embeddings-v2-small-en", "jinaai/jina-embeddings-v2-small-en"),
        # The caches of the Hugging Face hub and of ModelScope.
        ("~/hub/models--Qwen--Qwen3-Embedding-4B/snapshots/636cd9bf47d9/", "Qwen/Qwen3-Embedding-4B"),
        ("~/hub/models--mixedbread-ai--mxbai-rerank-base-v2/snapshots/main", "mixedbread-ai/mxbai-rerank-base-v2"),
        ("~/modelscope/hub/models/Qwen/Qwen3-Embedding-0___6B", "Qwen/Qwen3-Embedding-0.6B"),
    ],
)
def test_a_path_counts_by_the_model_it_leads_to(path: str, name: str) -> None:
    assert profile_for(path).name == name


@pytest.mark.parametrize(
    ("packed", "name"),
    [
        ("Qwen/Qwen3-Embedding-8B-GGUF", "Qwen/Qwen3-Embedding-8B"),
        ("Qwen3-Embedding-0.6B-Q8_0.gguf", "Qwen/Qwen3-Embedding-0.6B"),
        ("qwen3-embedding:4b-q4_K_M", "Qwen/Qwen3-Embedding-4B"),
        ("dengcao/Qwen3-Reranker-0.6B:Q8_0", "Qwen/Qwen3-Reranker-0.6B"),
        ("mxbai-embed-large:latest", "mixedbread-ai/mxbai-embed-large-v1"),
        ("mlx-community/Qwen3-Embedding-4B-4bit-DWQ", "Qwen/Qwen3-Embedding-4B"),
    ],
)
def test_a_quantized_copy_wants_what_its_original_wants(packed: str, name: str) -> None:
    assert profile_for(packed).name == name


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("Qwen/Qwen3-Embeding-0.6B", "Qwen/Qwen3-Embedding-0.6B"),
        ("jinaai/jina-embedings-v2-base-en", "jinaai/jina-embeddings-v2-base-en"),
        ("mxbai-embed-large-v2", "mixedbread-ai/mxbai-embed-large-v1"),
        ("C:\\models\\text-embeding-3-small", "text-embedding-3-small"),
    ],
)
def test_an_unknown_name_is_refused_with_close_ones(wrong: str, meant: str) -> None:
    with pytest.raises(UnknownModelError) as caught:
        profile_for(wrong)
    assert str(caught.value).startswith(f"`model` {wrong!r} has no profile. Did you mean ")
    assert meant in str(caught.value)


def test_a_name_without_its_size_is_refused_with_all_sizes() -> None:
    with pytest.raises(UnknownModelError) as caught:
        profile_for("qwen3-embedding")
    for size in ("0.6B", "4B", "8B"):
        assert f"Qwen/Qwen3-Embedding-{size}" in str(caught.value)


@pytest.mark.parametrize("wrong", ["BAAI/bge-m3", "", "/", "Qwen3-Embedding-0.6B/1_Pooling"])
def test_a_name_like_no_other_is_refused_with_where_to_look(wrong: str) -> None:
    with pytest.raises(UnknownModelError, match="`qwen-embed models` lists the known ones"):
        profile_for(wrong)


def test_an_unknown_model_is_also_a_value_error() -> None:
    assert issubclass(UnknownModelError, ValueError)
    assert issubclass(UnknownModelError, QwenEmbedError)


@pytest.mark.parametrize(
    "another",
    [
        "tomaarsen/Qwen3-Reranker-0.6B-seq-cls",  # another head: the yes and no rows are not there
        "Qwen/Qwen3-VL-Embedding-8B",
        "jinaai/jina-embeddings-v2-base-es",
        "jinaai/jina-embeddings-v3",
        "text-embedding-v3",
        "text-embedding-ada-002",
    ],
)
def test_a_relative_of_a_known_model_is_not_taken_for_it(another: str) -> None:
    with pytest.raises(UnknownModelError):
        profile_for(another)
