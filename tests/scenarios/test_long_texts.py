"""Texts longer than the server's model: cut with a warning that says so, or refused."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tiny
from qwen_embed_integrations.errors import LongTextWarning, RequestRefusedError, TextTooLongError

if TYPE_CHECKING:
    from collections.abc import Callable

    import loopback
    from qwen_embed_integrations import Embedder, Reranker

    Make = Callable[..., Embedder]
    MakeReranker = Callable[..., Reranker]

# How each server says it, with what it counts in place of tokens here: characters.
SGLANG = (
    400,
    {
        "object": "error",
        "message": "The input (1202 tokens) is longer than the model's context length (512 tokens).",
        "type": "BadRequestError",
        "param": None,
        "code": 400,
    },
    {},
)
VLLM = (
    400,
    {
        "error": {
            "message": "This model's maximum context length is 512 tokens. However, your prompt contains at least 513 "
            "input tokens, which exceeds this limit even without any output tokens.",
            "type": "BadRequestError",
            "param": "input_tokens",
            "code": 400,
        }
    },
    {},
)
LLAMA_CPP = (
    500,
    {
        "error": {
            "code": 500,
            "message": "input (949 tokens) is too large to process. increase the physical batch size "
            "(current batch size: 512)",
            "type": "server_error",
        }
    },
    {},
)
TEI = (422, {"error": "`inputs` must have less than 512 tokens. Given: 1202", "error_type": "Validation"}, {})
OLD_TEI = (413, *TEI[1:])
BY_BULK = (413, b"Payload Too Large", {"content-type": "text/plain"})
SERVERS = {"sglang": SGLANG, "vllm": VLLM, "llama.cpp": LLAMA_CPP, "tei": TEI, "old tei": OLD_TEI, "nginx": BY_BULK}


def limited(allowed: int, refusal: loopback.Answer) -> Callable[[list[str]], loopback.Answer | None]:
    return lambda texts: refusal if max(map(len, texts)) > allowed else None


def last_taken(server: loopback.Server, allowed: int, start: str) -> str:
    """Return the longest text with this start that the server let through."""
    return max((text for text in server.texts() if text.startswith(start) and len(text) <= allowed), key=len)


@pytest.mark.parametrize("refusal", SERVERS.values(), ids=SERVERS)
def test_a_long_text_is_cut_in_the_words_of_every_server(
    server: loopback.Server, embedder: Make, refusal: loopback.Answer
) -> None:
    texts = ["short one", "w" * 3000, "short two"]
    with pytest.warns(LongTextWarning, match=r"1 of 3 `texts` .* at position 1\."):
        found = embedder(limited(1000, refusal)).embed_documents(texts)
    kept = last_taken(server, 1000, "w")
    np.testing.assert_allclose(found, tiny.vectors(["short one", kept, "short two"]), atol=1e-6)


@pytest.mark.parametrize("allowed", [*range(100, 200, 7), 1000, 1023, 1024, 1025, 1874, 1876])
def test_at_least_seven_eighths_of_what_fits_is_kept(server: loopback.Server, embedder: Make, allowed: int) -> None:
    with pytest.warns(LongTextWarning):
        embedder(limited(allowed, SGLANG)).embed_documents(["w" * 3000])
    assert 0.87 * allowed <= len(last_taken(server, allowed, "w")) <= allowed


def test_the_longest_cut_that_was_taken_is_the_one_that_counts(server: loopback.Server, embedder: Make) -> None:
    with pytest.warns(LongTextWarning):
        found = embedder(limited(1500, SGLANG)).embed_documents(["".join(map(str, range(1000)))])
    np.testing.assert_allclose(found, tiny.vectors([last_taken(server, 1500, "0123")]), atol=1e-6)


def test_a_cut_query_keeps_its_instruction_and_its_beginning(server: loopback.Server, embedder: Make) -> None:
    query = "start " + "w" * 5000
    with pytest.warns(LongTextWarning):
        embedder(limited(400, SGLANG)).embed_queries([query])
    kept = last_taken(server, 400, "Instruct: find it\nQuery:start ")
    assert ("Instruct: find it\nQuery:" + query).startswith(kept)
    assert len(kept) >= 0.87 * 400


def test_one_warning_counts_all_cut_texts_and_names_them(embedder: Make) -> None:
    texts = [("w" * 600 if at % 3 == 1 else "short") for at in range(40)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        embedder(limited(200, SGLANG), batch_size=7).embed_documents(texts)
    messages = [str(each.message) for each in caught if each.category is LongTextWarning]
    assert len(messages) == 1
    assert messages[0].startswith(
        "13 of 40 `texts` were longer than the model reads and were cut, at positions 1, 4, 7"
    )
    assert "and 3 more" in messages[0]


def test_the_warning_points_at_the_line_that_called(embedder: Make) -> None:
    ours = embedder(limited(200, SGLANG))
    with pytest.warns(LongTextWarning) as caught:
        ours.embed_documents(["w" * 600])
    assert caught[0].filename == __file__


async def test_the_warning_points_at_the_line_that_awaited(embedder: Make) -> None:
    ours = embedder(limited(200, SGLANG))
    with pytest.warns(LongTextWarning) as caught:
        await ours.aembed_documents(["w" * 600])
    assert caught[0].filename == __file__


def test_texts_that_fit_give_no_warning(embedder: Make) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embedder(limited(200, SGLANG)).embed_documents(["w" * 200])


def test_long_texts_can_be_an_error_that_names_them(embedder: Make) -> None:
    texts = ["short one", "w" * 3000, "short two", "v" * 4000]
    with pytest.raises(TextTooLongError, match=r"at position 1 .*longer than the model reads") as caught:
        embedder(limited(1000, SGLANG), long_text="error").embed_documents(texts)
    assert caught.value.positions == (1, 3)
    assert caught.value.parameter == "texts"
    completed = caught.value.completed
    assert completed is not None
    np.testing.assert_allclose(completed[[0, 2]], tiny.vectors(["short one", "short two"]), atol=1e-6)
    assert np.isnan(completed[[1, 3]]).all()


def test_a_text_that_is_blank_once_cut_is_refused_by_name(embedder: Make) -> None:
    def answer(texts: list[str]) -> loopback.Answer | None:
        if max(map(len, texts)) > 100:
            return SGLANG
        blank = any(not text.strip() for text in texts)
        return (400, {"message": "Input at index 0 cannot be empty or whitespace only"}, {}) if blank else None

    with pytest.raises(RequestRefusedError) as caught:
        embedder(answer).embed_documents(["fine", " " * 1000 + "end"])
    assert caught.value.positions == (1,)
    assert caught.value.completed is not None
    np.testing.assert_allclose(caught.value.completed[0], tiny.vectors(["fine"])[0], atol=1e-6)


def test_cut_texts_are_told_of_even_when_another_text_fails(embedder: Make) -> None:
    def answer(texts: list[str]) -> loopback.Answer | None:
        return (400, {"message": "no"}, {}) if "bad" in texts else limited(100, SGLANG)(texts)

    with (
        pytest.warns(LongTextWarning, match="at position 0"),
        pytest.raises(RequestRefusedError, match="at position 1"),
    ):
        embedder(answer).embed_documents(["w" * 300, "bad"])


def test_a_long_document_of_a_rerank_is_cut(reranker_server: loopback.Server, reranker: MakeReranker) -> None:
    def answer(body: dict[str, Any]) -> loopback.Answer | None:
        return SGLANG if max(map(len, body["documents"])) > 100 else None

    with pytest.warns(LongTextWarning, match="1 of 2 `documents` .* at position 1") as caught:
        ranked = reranker(answer).rerank("cats", ["dogs", "cats " * 100])
    assert [document.index for document in ranked] == [1, 0]
    assert caught[0].filename == __file__
    assert reranker_server.posted()[-1].body["query"] == "cats"


def test_a_query_too_long_to_rerank_is_not_blamed_on_the_documents(
    reranker_server: loopback.Server, reranker: MakeReranker
) -> None:
    with pytest.raises(RequestRefusedError, match="longer than the model's context") as caught:
        reranker(lambda _: SGLANG).rerank("cats " * 1000, [f"document {at}" for at in range(64)])
    assert caught.value.positions == ()
    assert len(reranker_server.posted()) <= 9


def test_long_documents_of_a_rerank_can_be_an_error(reranker: MakeReranker) -> None:
    def answer(body: dict[str, Any]) -> loopback.Answer | None:
        return SGLANG if max(map(len, body["documents"])) > 100 else None

    with pytest.raises(TextTooLongError, match="`documents` holds a text at position 0") as caught:
        reranker(answer, long_text="error").rerank("cats", ["cats " * 100, "cats"])
    assert caught.value.positions == (0,)
    np.testing.assert_array_equal(caught.value.completed, [np.nan, 1.0])
