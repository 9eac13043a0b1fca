"""What a profile makes of instructions, of the two roles, and of sizes."""

from __future__ import annotations

from typing import Any

import pytest

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.profiles import ModelProfile, RerankProfile, profile_for


def embedding_profile(model: str) -> ModelProfile:
    profile = profile_for(model)
    assert isinstance(profile, ModelProfile)
    return profile


def query(model: str, text: str, instruction: str | None = None) -> str:
    return embedding_profile(model).prefix("query", instruction) + text


def pair(model: str, query_text: str, document: str, instruction: str | None = None) -> str:
    profile = profile_for(model)
    assert isinstance(profile, RerankProfile)
    return profile.lead(query_text, instruction) + document + profile.tail


# --- sizes -------------------------------------------------------------------------------------------------------


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


# --- prompts of embedding models ---------------------------------------------------------------------------------


def test_the_instruction_slot_tells_whether_a_model_takes_one() -> None:
    assert ModelProfile(name="mine", query_prefix="{instruction}: ").takes_instruction
    assert not ModelProfile(name="mine", query_prefix="search_query: ").takes_instruction


def test_a_slot_without_a_default_is_left_empty() -> None:
    assert ModelProfile(name="mine", query_prefix="{instruction}query: ").prefix("query") == "query: "


def test_a_fixed_prefix_is_put_before_each_role() -> None:
    profile = ModelProfile(name="mine", query_prefix="query: ", document_prefix="passage: ")
    assert (profile.prefix("query"), profile.prefix("document")) == ("query: ", "passage: ")


def test_an_instruction_is_for_queries_and_leaves_documents_alone() -> None:
    profile = ModelProfile(name="mine", query_prefix="{instruction}: ", document_prefix="passage: ")
    assert profile.prefix("document", "Find code") == "passage: "
    assert embedding_profile("Qwen3-Embedding-0.6B").prefix("document", "Find code") == ""


def test_an_instruction_replaces_the_default() -> None:
    assert query("qwen3-embedding:8b", "def f(): ...", "Find code like this") == (
        "Instruct: Find code like this\nQuery:def f(): ..."
    )


def test_an_empty_instruction_takes_the_default_away() -> None:
    assert query("mxbai-embed-large", "bread", "") == "bread"


def test_the_smallest_mxbai_gets_a_sentence_only_where_one_is_given() -> None:
    assert query("mxbai-embed-xsmall-v1", "bread") == "bread"
    assert query("mxbai-embed-xsmall-v1", "bread", "Find recipes: ") == "Find recipes: bread"


@pytest.mark.parametrize(
    "model", ["jina-embeddings-v2-base-code", "text-embedding-3-small", "text-embedding-3-large", "text-embedding-v4"]
)
def test_a_model_that_takes_no_instruction_refuses_one(model: str) -> None:
    assert query(model, "a sorted list") == "a sorted list"
    with pytest.raises(InvalidInputError, match=f"`instruction` was given, but .*{model} takes none") as caught:
        query(model, "a sorted list", "Find code")
    assert caught.value.parameter == "instruction"


def test_braces_in_an_instruction_are_left_alone() -> None:
    assert query("Qwen3-Embedding-0.6B", "q", "Match {instruction} to {} and {0!r}") == (
        "Instruct: Match {instruction} to {} and {0!r}\nQuery:q"
    )


def test_the_sources_stay_out_of_the_repr() -> None:
    assert "README" not in repr(embedding_profile("Qwen3-Embedding-0.6B"))


# --- prompts of rerankers ----------------------------------------------------------------------------------------


def test_a_rerank_instruction_replaces_the_default() -> None:
    prompt = pair("Qwen3-Reranker-4B", "q", "d", "Find duplicates")
    assert "<|im_start|>user\n<Instruct>: Find duplicates\n<Query>: q\n<Document>: d<|im_end|>\n" in prompt


@pytest.mark.parametrize("size", ["base", "large"])
def test_an_mxbai_rerank_prompt_gets_an_instruction_line_on_request(size: str) -> None:
    model = f"mixedbread-ai/mxbai-rerank-{size}-v2"
    plain = pair(model, "bread", "A man eats.")
    assert "<|im_start|>user\nquery: bread\ndocument: A man eats.\n" in plain
    assert pair(model, "bread", "A man eats.", "Find meals") == plain.replace(
        "query: bread", "instruction: Find meals\nquery: bread"
    )


def test_an_empty_rerank_instruction_leaves_the_line_out() -> None:
    plain = pair("mxbai-rerank-base-v2", "bread", "A man eats.")
    assert pair("mxbai-rerank-base-v2", "bread", "A man eats.", "") == plain


@pytest.mark.parametrize("model", ["Qwen3-Reranker-0.6B", "mxbai-rerank-base-v2"])
def test_braces_in_rerank_texts_are_left_alone(model: str) -> None:
    plain = pair(model, "QUERY", "DOCUMENT", "INSTRUCTION")
    instruction, text, document = "{query} {document} {instruction} {}", "{document} {instruction} {0}", "{query} {x!r}"
    braced = pair(model, text, document, instruction)
    assert braced == plain.replace("QUERY", text).replace("DOCUMENT", document).replace("INSTRUCTION", instruction)


def test_the_lead_of_a_rerank_prompt_does_not_depend_on_the_document() -> None:
    profile = profile_for("Qwen3-Reranker-0.6B")
    assert isinstance(profile, RerankProfile)
    assert profile.lead("q").endswith("<Query>: q\n<Document>: ")
    assert profile.tail == "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


def test_an_instruction_may_stand_after_the_query() -> None:
    profile = RerankProfile(name="mine", method="token_logits", body="Q: {query}\nI: {instruction}\nD: {document}")
    assert profile.lead("bread", "Find meals") == "Q: bread\nI: Find meals\nD: "
