"""The exact text a model reads."""

from __future__ import annotations

import pytest

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.profiles import PROFILES, ModelProfile, RerankProfile, profile_for


def query(model: str, text: str, instruction: str | None = None) -> str:
    profile = profile_for(model)
    assert isinstance(profile, ModelProfile)
    return profile.prefix("query", instruction) + text


def pair(model: str, query_text: str, document: str, instruction: str | None = None) -> str:
    profile = profile_for(model)
    assert isinstance(profile, RerankProfile)
    return profile.lead(query_text, instruction) + document + profile.tail


@pytest.mark.parametrize("size", ["0.6B", "4B", "8B"])
def test_a_qwen3_query_gets_the_instruction_and_no_space(size: str) -> None:
    assert query(f"Qwen/Qwen3-Embedding-{size}", "What is the capital of China?") == (
        "Instruct: Given a web search query, retrieve relevant passages that answer the query\n"
        "Query:What is the capital of China?"
    )


def test_an_instruction_replaces_the_default() -> None:
    assert query("qwen3-embedding:8b", "def f(): ...", "Find code like this") == (
        "Instruct: Find code like this\nQuery:def f(): ..."
    )


@pytest.mark.parametrize("size", ["large", "2d-large"])
def test_an_mxbai_query_gets_its_sentence(size: str) -> None:
    assert query(f"mixedbread-ai/mxbai-embed-{size}-v1", "A man is eating a piece of bread") == (
        "Represent this sentence for searching relevant passages: A man is eating a piece of bread"
    )


def test_an_mxbai_query_can_go_without_its_sentence() -> None:
    assert query("mxbai-embed-large", "bread", "") == "bread"


def test_the_smallest_mxbai_gets_a_sentence_only_where_one_is_given() -> None:
    assert query("mxbai-embed-xsmall-v1", "bread") == "bread"
    assert query("mxbai-embed-xsmall-v1", "bread", "Find recipes: ") == "Find recipes: bread"


@pytest.mark.parametrize(
    "profile", [each for each in PROFILES if isinstance(each, ModelProfile)], ids=lambda each: each.name
)
def test_a_document_is_embedded_bare(profile: ModelProfile) -> None:
    assert profile.prefix("document") == ""
    assert profile.prefix("document", "an instruction for queries") == ""


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


@pytest.mark.parametrize("size", ["0.6B", "4B", "8B"])
def test_a_qwen3_rerank_prompt_is_the_official_one(size: str) -> None:
    assert pair(f"Qwen/Qwen3-Reranker-{size}", "Explain gravity", "Gravity is a force.") == (
        "<|im_start|>system\n"
        "Judge whether the Document meets the requirements based on the Query and the Instruct provided. Note that "
        'the answer can only be "yes" or "no".<|im_end|>\n'
        "<|im_start|>user\n"
        "<Instruct>: Given a web search query, retrieve relevant passages that answer the query\n"
        "<Query>: Explain gravity\n"
        "<Document>: Gravity is a force.<|im_end|>\n"
        "<|im_start|>assistant\n"
        "<think>\n\n</think>\n\n"
    )


def test_a_rerank_instruction_replaces_the_default() -> None:
    prompt = pair("Qwen3-Reranker-4B", "q", "d", "Find duplicates")
    assert "<|im_start|>user\n<Instruct>: Find duplicates\n<Query>: q\n<Document>: d<|im_end|>\n" in prompt


MXBAI_OPENING = (
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n"
)
MXBAI_CLOSING = (
    "\nYou are a search relevance expert who evaluates how well documents match search queries. For each "
    "query-document pair, carefully analyze the semantic relationship between them, then provide your binary "
    "relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:<|im_end|>\n<|im_start|>assistant\n"
)


@pytest.mark.parametrize("size", ["base", "large"])
def test_an_mxbai_rerank_prompt_has_no_instruction_line_by_default(size: str) -> None:
    assert pair(f"mixedbread-ai/mxbai-rerank-{size}-v2", "bread", "A man eats.") == (
        f"{MXBAI_OPENING}query: bread\ndocument: A man eats.{MXBAI_CLOSING}"
    )


@pytest.mark.parametrize("size", ["base", "large"])
def test_an_mxbai_rerank_prompt_gets_an_instruction_line_on_request(size: str) -> None:
    assert pair(f"mixedbread-ai/mxbai-rerank-{size}-v2", "bread", "A man eats.", "Find meals") == (
        f"{MXBAI_OPENING}instruction: Find meals\nquery: bread\ndocument: A man eats.{MXBAI_CLOSING}"
    )


def test_an_empty_rerank_instruction_leaves_the_line_out() -> None:
    assert pair("mxbai-rerank-base-v2", "bread", "A man eats.", "") == pair(
        "mxbai-rerank-base-v2", "bread", "A man eats."
    )


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
