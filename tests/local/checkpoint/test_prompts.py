"""A reranker's prompts keep what stands before and behind a document whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles
from qwen_embed_integrations.local.checkpoint.prompts import encode_prompts
from qwen_embed_integrations.local.checkpoint.tokenizer import Tokenizer
from qwen_embed_integrations.profiles import RerankProfile, profile_for

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["Qwen/Qwen3-Reranker-0.6B", "mixedbread-ai/mxbai-rerank-base-v2"])
def profile(request: pytest.FixtureRequest) -> RerankProfile:
    known = profile_for(request.param)
    assert isinstance(known, RerankProfile)
    return known


@pytest.fixture
def tokenizer(tiny_reranker: Path) -> Tokenizer:
    return Tokenizer(CheckpointFiles(tiny_reranker), max_tokens=400, long_text="truncate")


def test_a_long_document_leaves_the_end_of_the_prompt_whole(profile: RerankProfile, tokenizer: Tokenizer) -> None:
    documents = ["the quick brown fox", "quick brown fox " * 600]
    tokens = encode_prompts(tokenizer, profile, "which fox?", None, documents)
    closing = tokenizer.raw.encode(profile.suffix, add_special_tokens=False)
    assert [each[-len(closing) :] for each in tokens.sequences] == [closing] * 2
    assert len(tokens.sequences[1]) == 400
    assert tokens.shortened == [1]
    opening = tokenizer.raw.encode(profile.prefix, add_special_tokens=False)
    assert [each[: len(opening)] for each in tokens.sequences] == [opening] * 2


def test_a_query_that_leaves_no_room_is_refused_with_the_numbers(profile: RerankProfile, tokenizer: Tokenizer) -> None:
    with pytest.raises(
        InvalidInputError, match=r"have \d+ tokens; the model reads 400, .* Shorten the query"
    ) as caught:
        encode_prompts(tokenizer, profile, "quick brown fox " * 600, None, ["fox"])
    assert caught.value.parameter == "query"
