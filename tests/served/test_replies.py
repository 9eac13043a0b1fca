"""Embedding replies that must be put right or refused, never passed on."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import loopback
import tiny
from qwen_embed_integrations.errors import BadReplyError
from qwen_embed_integrations.served.replies import tokens_used

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_embed_integrations import Embedder

    Make = Callable[..., Embedder]

TEXTS = ["a", "b", "c", "d"]


def row(text: str, index: Any) -> dict[str, Any]:
    return {"index": index, "embedding": tiny.vectors([text])[0].tolist()}


def raw(body: bytes) -> Callable[[list[str]], loopback.Answer]:
    return lambda _: (200, body, {})


def test_rows_are_put_in_the_order_of_their_index(embedder: Make) -> None:
    rows = [row(TEXTS[at], at) for at in (2, 0, 3, 1)]
    found = embedder(lambda _: tiny.reply(rows)).embed_documents(TEXTS)
    np.testing.assert_allclose(found, tiny.vectors(TEXTS), atol=1e-6)


def test_indexes_with_gaps_still_tell_the_order(embedder: Make) -> None:
    rows = [row("c", 7), row("a", 2), row("d", 40), row("b", 5)]
    found = embedder(lambda _: tiny.reply(rows)).embed_documents(TEXTS)
    np.testing.assert_allclose(found, tiny.vectors(TEXTS), atol=1e-6)


def test_rows_without_an_index_stay_where_they_are(embedder: Make) -> None:
    rows = [{"embedding": row(text, 0)["embedding"]} for text in TEXTS]
    found = embedder(lambda _: tiny.reply(rows)).embed_documents(TEXTS)
    np.testing.assert_allclose(found, tiny.vectors(TEXTS), atol=1e-6)


@pytest.mark.parametrize(
    "indexes", [[0, 1, 1, 3], [0, 1, None, 3], ["0", "1", "2", "3"], [0.0, 1.0, 2.0, 3.0], [True, False, 2, 3]]
)
def test_indexes_that_do_not_tell_whose_a_row_is_are_refused(embedder: Make, indexes: list[Any]) -> None:
    rows = [row(text, index) for text, index in zip(TEXTS, indexes, strict=True)]
    with pytest.raises(BadReplyError, match="do not say whose each one is"):
        embedder(lambda _: tiny.reply(rows)).embed_documents(TEXTS)


@pytest.mark.parametrize("count", [0, 3, 5])
def test_a_reply_with_too_few_or_too_many_rows_is_refused(embedder: Make, count: int) -> None:
    rows = [row("x", at) for at in range(count)]
    with pytest.raises(BadReplyError, match=f"{count} embeddings for 4 texts"):
        embedder(lambda _: tiny.reply(rows)).embed_documents(TEXTS)


def test_vectors_of_another_size_than_the_profile_says_are_refused(embedder: Make) -> None:
    with pytest.raises(BadReplyError, match=r"16 dimensions where 8 were expected.*`model`"):
        embedder(lambda texts: (200, loopback.embeddings_reply(texts, size=16), {})).embed_documents(TEXTS)


def test_sizes_that_differ_within_a_reply_are_refused(embedder: Make) -> None:
    rows = [row("a", 0), {"index": 1, "embedding": [1.0] * 7}]
    with pytest.raises(BadReplyError, match="7 and 8 dimensions"):
        embedder(lambda _: tiny.reply(rows)).embed_documents(["a", "b"])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "bad",
    [
        pytest.param("[NaN,1,1,1,1,1,1,1]", id="NaN"),
        pytest.param("[null,1,1,1,1,1,1,1]", id="null"),
        pytest.param("[Infinity,1,1,1,1,1,1,1]", id="infinity"),
        pytest.param("[1e39,1,1,1,1,1,1,1]", id="too large for float32"),
        pytest.param("[0,0,0,0,0,0,0,0]", id="zeros"),
        pytest.param(json.dumps(base64.b64encode(np.full(8, np.nan, "<f4").tobytes()).decode()), id="base64 NaN"),
    ],
)
def test_a_vector_that_is_no_direction_is_named_and_the_others_are_kept(embedder: Make, bad: str) -> None:
    good = json.dumps(tiny.vectors(["a"])[0].tolist())
    body = f'{{"data": [{{"index": 0, "embedding": {good}}}, {{"index": 1, "embedding": {bad}}}]}}'
    ours = embedder(raw(body.encode()))
    with pytest.raises(BadReplyError, match="at 1 holds NaN, infinite or all-zero") as caught:
        ours.embed_documents(["a", "b"])
    assert caught.value.positions == (1,)
    assert caught.value.completed is not None
    np.testing.assert_allclose(caught.value.completed[0], tiny.vectors(["a"])[0], atol=1e-6)
    assert np.isnan(caught.value.completed[1]).all()


def test_unusable_vectors_in_several_batches_are_all_named(embedder: Make) -> None:
    texts = [f"text {at}" for at in range(12)]

    def some_nan(batch: list[str]) -> loopback.Answer:
        _, said, _ = tiny.answer(batch)
        for text, each in zip(batch, said["data"], strict=True):
            if text in {"text 1", "text 6", "text 11"}:
                each["embedding"] = [None] * tiny.SIZE
        return 200, said, {}

    with pytest.raises(BadReplyError, match="In all, positions 1, 6, 11 failed") as caught:
        embedder(some_nan, batch_size=4).embed_documents(texts)
    assert caught.value.positions == (1, 6, 11)
    assert caught.value.completed is not None
    kept = [at for at in range(12) if at not in caught.value.positions]
    np.testing.assert_allclose(caught.value.completed[kept], tiny.vectors(texts)[kept], atol=1e-6)


@pytest.mark.parametrize(
    "bad",
    [
        "[[1,2]]",
        '["x","y"]',
        '{"a":1}',
        "7",
        "null",
        '"no base64!"',
        '"AAA="',
        "[1" + "0" * 400 + "]",
        '"\\u00e9"',
    ],
)
def test_an_embedding_that_is_no_vector_is_refused(embedder: Make, bad: str) -> None:
    with pytest.raises(BadReplyError, match="an embedding that is"):
        embedder(raw(f'{{"data": [{{"index": 0, "embedding": {bad}}}]}}'.encode())).embed_documents(["a"])


def test_a_page_of_html_is_called_html(server: loopback.Server, embedder: Make) -> None:
    page = b"<!DOCTYPE html><html><body>Welcome to nginx!</body></html>"
    with pytest.raises(BadReplyError, match=r"answered 200 with HTML.*nginx.*Is `base_url` right") as caught:
        embedder(lambda _: (200, page, {"content-type": "text/html"})).embed_documents(["a"])
    assert caught.value.url == f"{server.base_url}/embeddings"


@pytest.mark.parametrize("body", [b"", b"   ", b"OK", b'{"data": [', b"\xff\xfe\x00", b"[" * 5000])
def test_a_body_that_is_no_json_is_refused(embedder: Make, body: bytes) -> None:
    with pytest.raises(BadReplyError, match="no JSON"):
        embedder(raw(body)).embed_documents(["a"])


@pytest.mark.parametrize(
    "said", [{}, [], "text", 3, None, True, {"data": None}, {"data": {}}, {"data": [1]}, {"embeddings": [[1.0]]}]
)
def test_json_of_another_shape_is_refused(embedder: Make, said: Any) -> None:
    with pytest.raises(BadReplyError, match=r"no `data` list of embeddings.*Is it an embedding server\?"):
        embedder(lambda _: (200, said, {})).embed_documents(["a"])


def test_an_error_sent_with_status_200_is_shown(embedder: Make) -> None:
    with pytest.raises(BadReplyError, match="model is still loading"):
        embedder(lambda _: (200, {"error": {"message": "model is still loading"}}, {})).embed_documents(["a"])


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"total_tokens": 7, "prompt_tokens": 5}, 7),
        ({"total_tokens": None, "prompt_tokens": 5}, 5),
        ({"prompt_tokens": 5}, 5),
        ({"total_tokens": "7"}, 0),
        ({}, 0),
        (None, 0),
        ([], 0),
    ],
)
def test_tokens_are_counted_where_the_server_says_them(usage: Any, tokens: int) -> None:
    assert tokens_used({"usage": usage}) == tokens


def test_a_bare_list_says_no_tokens() -> None:
    assert tokens_used([{"score": 1.0}]) == 0


def test_usage_is_summed_over_requests_and_calls(embedder: Make) -> None:
    ours = embedder(batch_size=2)  # the loopback server counts characters
    ours.embed_documents(["a", "bb", "ccc"])
    ours.embed_documents(["dddd"])
    assert (ours.usage.tokens, ours.usage.requests) == (10, 3)
