from __future__ import annotations

from typing import Any

import pytest

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.profiles import ModelProfile, profile_for


def embedding_profile(model: str) -> ModelProfile:
    profile = profile_for(model)
    assert isinstance(profile, ModelProfile)
    return profile


@pytest.mark.parametrize(
    ("model", "sizes"),
    [
        ("Qwen3-Embedding-0.6B", [None, 32, 33, 512, 1023, 1024]),
        ("Qwen3-Embedding-8B", [32, 4096]),
        ("mxbai-embed-large-v1", [None, 1, 512, 1024]),
        ("jina-embeddings-v2-base-en", [None, 768]),
        ("text-embedding-3-small", [1, 256, 1536]),
        ("text-embedding-v4", [None, 64, 1024, 2048]),
    ],
)
def test_a_size_the_model_gives_is_allowed(model: str, sizes: list[int | None]) -> None:
    for size in sizes:
        embedding_profile(model).check_dimensions(size)


@pytest.mark.parametrize(
    ("model", "sizes", "allowed"),
    [
        ("Qwen/Qwen3-Embedding-0.6B", [31, 1025, 0, -1], "between 32 and 1024"),
        ("Qwen/Qwen3-Embedding-4B", [2561], "between 32 and 2560"),
        ("mixedbread-ai/mxbai-embed-xsmall-v1", [0, 385], "between 1 and 384"),
        ("jinaai/jina-embeddings-v2-small-en", [511, 513], "512, since the model was not trained to be cut"),
        ("text-embedding-3-large", [0, 3073], "between 1 and 3072"),
        ("text-embedding-v4", [100, 4096], "one of 64, 128, 256, 512, 768, 1024, 1536, 2048"),
        ("Qwen/Qwen3-Embedding-0.6B", [True, 512.0, 1024.0, "512"], "a whole number"),
    ],
)
def test_a_size_the_model_cannot_give_is_refused_with_the_range(model: str, sizes: list[Any], allowed: str) -> None:
    for size in sizes:
        with pytest.raises(InvalidInputError) as caught:
            embedding_profile(model).check_dimensions(size)
        assert str(caught.value) == f"`dimensions` is {size!r}; for {model} it must be {allowed}."
        assert caught.value.parameter == "dimensions"


def test_a_model_of_unknown_size_may_be_cut_anywhere() -> None:
    profile = ModelProfile(name="mine", min_dimensions=1)
    profile.check_dimensions(5000)
    with pytest.raises(InvalidInputError, match="at least 1"):
        profile.check_dimensions(0)


def test_the_instruction_slot_tells_whether_a_model_takes_one() -> None:
    assert ModelProfile(name="mine", query_prefix="{instruction}: ").takes_instruction
    assert not ModelProfile(name="mine", query_prefix="search_query: ").takes_instruction


def test_a_slot_without_a_default_is_left_empty() -> None:
    assert ModelProfile(name="mine", query_prefix="{instruction}query: ").prefix("query") == "query: "


def test_a_fixed_prefix_is_put_before_each_role() -> None:
    profile = ModelProfile(name="mine", query_prefix="query: ", document_prefix="passage: ")
    assert (profile.prefix("query"), profile.prefix("document")) == ("query: ", "passage: ")


def test_the_sources_stay_out_of_the_repr() -> None:
    assert "README" not in repr(embedding_profile("Qwen3-Embedding-0.6B"))
