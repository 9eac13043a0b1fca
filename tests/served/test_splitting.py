"""Refusals: a text at fault is named, everything else still gets its vector, and few requests are spent on it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

import tiny
from qwen_embed_integrations.errors import (
    BadReplyError,
    LongTextWarning,
    QwenEmbedError,
    RequestRefusedError,
    ServerAuthenticationError,
    ServerBusyError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import loopback
    from qwen_embed_integrations import Embedder, Reranker

    Make = Callable[..., Embedder]
    MakeReranker = Callable[..., Reranker]


def texts_of(count: int) -> list[str]:
    return [f"text number {at}" for at in range(count)]


def test_a_refused_text_is_named_and_the_others_are_completed(embedder: Make) -> None:
    texts = texts_of(64)
    texts[37] = "bad text here"
    with pytest.raises(RequestRefusedError) as caught:
        embedder(tiny.refusing(lambda text: "bad" in text)).embed_documents(texts)
    assert caught.value.positions == (37,)
    assert "at position 37" in str(caught.value)
    assert "unacceptable text" in str(caught.value)
    completed = caught.value.completed
    assert completed is not None
    assert np.isnan(completed[37]).all()
    kept = [at for at in range(64) if at != 37]
    np.testing.assert_allclose(completed[kept], tiny.vectors(texts)[kept], atol=1e-6)


def test_finding_one_refused_text_among_64_takes_few_requests(server: loopback.Server, embedder: Make) -> None:
    texts = texts_of(64)
    texts[37] = "bad text here"
    with pytest.raises(RequestRefusedError):
        embedder(tiny.refusing(lambda text: "bad" in text)).embed_documents(texts)
    assert len(server.posted()) <= 14  # 2 for each halving, the first, and one neutral text


def test_several_refused_texts_are_all_named_in_one_error(embedder: Make) -> None:
    texts = texts_of(40)
    for at in (0, 1, 20, 39):
        texts[at] = f"bad {at}"
    with pytest.raises(RequestRefusedError, match="In all, positions 0, 1, 20, 39 failed") as caught:
        embedder(tiny.refusing(lambda text: "bad" in text), batch_size=16).embed_documents(texts)
    assert caught.value.positions == (0, 1, 20, 39)
    assert "at position 0 that was refused" in str(caught.value)


def test_the_shortest_texts_being_the_refused_ones_makes_no_difference(embedder: Make) -> None:
    texts = ["!", "?", *texts_of(10)]
    with pytest.raises(RequestRefusedError) as caught:
        embedder(tiny.refusing(lambda text: text in "!?")).embed_documents(texts)
    assert caught.value.positions == (0, 1)
    assert caught.value.completed is not None
    np.testing.assert_allclose(caught.value.completed[2:], tiny.vectors(texts[2:]), atol=1e-6)


def test_a_batch_of_refused_texts_only_is_named_text_by_text(embedder: Make) -> None:
    with pytest.raises(RequestRefusedError) as caught:
        embedder(tiny.refusing(lambda text: "bad" in text)).embed_documents(["bad a", "bad b", "bad c"])
    assert caught.value.positions == (0, 1, 2)
    assert caught.value.completed is None


def test_a_server_that_refuses_everything_is_asked_twice_a_batch(server: loopback.Server, embedder: Make) -> None:
    ours = embedder(lambda _: (400, {"error": "no matryoshka"}, {}), max_concurrency=1, batch_size=32)
    with pytest.raises(RequestRefusedError, match="no matryoshka") as caught:
        ours.embed_documents(texts_of(320))
    assert caught.value.positions == ()
    # Two batches may have started before the first one's error was seen.
    assert len(server.posted()) <= 4


def test_a_server_that_refuses_everything_is_not_sent_the_rest_one_by_one(
    server: loopback.Server, embedder: Make
) -> None:
    ours = embedder(lambda _: (400, {"error": "no"}, {}), max_concurrency=1, batch_size=1)
    with pytest.raises(RequestRefusedError):
        ours.embed_documents(texts_of(200))
    assert len(server.posted()) <= 4


def test_a_refusal_in_an_unknown_language_still_finds_the_texts(embedder: Make) -> None:
    texts = texts_of(20)
    texts[3] = "bad"
    with pytest.raises(RequestRefusedError) as caught:
        embedder(tiny.refusing(lambda text: text == "bad", message="输入内容不合规")).embed_documents(texts)
    assert caught.value.positions == (3,)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (413, "Payload Too Large"),
        (422, "batch size 64 > maximum allowed batch size 32"),
        (422, "List should have at most 2048 items after validation"),
        (400, "Requested 383018 tokens, max 300000 tokens per request"),
        (400, "too many inputs"),
        (400, "数组过长"),
    ],
)
def test_too_many_texts_are_sent_in_halves(server: loopback.Server, embedder: Make, status: int, message: str) -> None:
    texts = texts_of(64)
    refusal = (status, {"error": message}, {})
    found = embedder(lambda batch: refusal if len(batch) > 32 else None).embed_documents(texts)
    np.testing.assert_allclose(found, tiny.vectors(texts), atol=1e-6)
    assert sorted(len(request.body["input"]) for request in server.posted())[-3:] == [32, 32, 64]


def test_a_number_that_a_refusal_names_is_kept_to_at_once(server: loopback.Server, embedder: Make) -> None:
    texts = texts_of(25)
    refusal = (400, {"error": "batch size is invalid, it should not be larger than 10.: input.contents"}, {})
    found = embedder(lambda batch: refusal if len(batch) > 10 else None).embed_documents(texts)
    np.testing.assert_allclose(found, tiny.vectors(texts), atol=1e-6)
    assert [len(request.body["input"]) for request in server.posted()] == [25, 10, 10, 5]


@pytest.mark.parametrize(
    ("refusal", "kept"),
    [
        ((422, {"error": "batch size 64 > maximum allowed batch size 24"}, {}), 24),
        ((413, b"Payload Too Large", {"content-type": "text/plain"}), 16),
    ],
)
def test_a_limit_that_was_run_into_is_kept_to_from_then_on(
    server: loopback.Server, embedder: Make, refusal: loopback.Answer, kept: int
) -> None:
    ours = embedder(lambda batch: refusal if len(batch) > 24 else None, max_concurrency=1)
    ours.embed_documents(texts_of(64))
    server.requests.clear()
    ours.embed_documents(texts_of(64))
    assert max(len(request.body["input"]) for request in server.posted()) == kept


def test_one_bulky_text_does_not_make_later_requests_small(server: loopback.Server, embedder: Make) -> None:
    refusal = (413, b"Payload Too Large", {"content-type": "text/plain"})
    ours = embedder(lambda batch: refusal if sum(map(len, batch)) > 5000 else None)
    with pytest.warns(LongTextWarning):
        ours.embed_documents([*texts_of(31), "w" * 9000])
    server.requests.clear()
    ours.embed_documents(texts_of(64))
    assert [len(request.body["input"]) for request in server.posted()] == [64]


def test_texts_too_bulky_together_are_sent_in_halves(embedder: Make) -> None:
    texts = [str(at) * 100 for at in range(32)]
    refusal = (413, b"length limit exceeded", {"content-type": "text/plain"})
    found = embedder(lambda batch: refusal if sum(map(len, batch)) > 1000 else None).embed_documents(texts)
    np.testing.assert_allclose(found, tiny.vectors(texts), atol=1e-6)


def test_a_busy_server_in_the_middle_of_a_search_ends_the_call(embedder: Make) -> None:
    def answer(batch: list[str]) -> loopback.Answer | None:
        if len(batch) > 4:
            return 400, {"error": "something in it"}, {}
        return (503, {"error": "overloaded"}, {}) if len(batch) > 1 else None

    with pytest.raises(ServerBusyError):
        embedder(answer).embed_documents(texts_of(8))


def test_a_key_that_expires_in_the_middle_is_an_authentication_error(embedder: Make) -> None:
    ours = embedder(
        lambda batch: (401, {"error": "Unauthorized"}, {}) if "text number 9" in batch else None,
        batch_size=3,
        max_concurrency=1,
    )
    with pytest.raises(ServerAuthenticationError) as caught:
        ours.embed_documents(texts_of(12))
    assert caught.value.completed is not None
    np.testing.assert_allclose(caught.value.completed[:9], tiny.vectors(texts_of(9)), atol=1e-6)
    assert np.isnan(caught.value.completed[9:]).all()


@pytest.mark.parametrize("seed", range(12))
def test_whatever_texts_are_bad_exactly_those_are_named(embedder: Make, seed: int) -> None:
    chance = random.Random(seed)
    count, batch_size = chance.randint(1, 60), chance.choice([1, 2, 3, 7, 16, 64])
    texts = [f"{at} " + "x" * chance.randint(0, 40) for at in range(count)]
    refused = set(chance.sample(range(count), chance.choice([0, 1, 2, count // 3, count])))
    broken = set(chance.sample(range(count), chance.choice([0, 1, count // 4]))) - refused
    too_long = set(chance.sample(range(count), chance.choice([0, 1, count // 5]))) - refused - broken
    marks = {
        **dict.fromkeys(refused, "REFUSED"),
        **dict.fromkeys(broken, "NAN"),
        **dict.fromkeys(too_long, "LONG" * 40),
    }
    texts = [marks.get(at, "") + text for at, text in enumerate(texts)]

    def answer(batch: list[str]) -> loopback.Answer:
        if len(batch) > 20:
            return 422, {"error": "batch size is too large"}, {}
        if any("REFUSED" in text for text in batch):
            return 400, {"error": "no"}, {}
        if any("LONG" in text for text in batch):
            return 400, {"error": "longer than the model's context length"}, {}
        _, said, _ = tiny.answer(batch)
        for text, row in zip(batch, said["data"], strict=True):
            if "NAN" in text:
                row["embedding"][3] = None
        chance.shuffle(said["data"])
        return 200, said, {}

    ours = embedder(answer, batch_size=batch_size, long_text="error")
    bad = refused | broken | too_long
    if not bad:
        np.testing.assert_allclose(ours.embed_documents(texts), tiny.vectors(texts), atol=1e-6)
        return
    with pytest.raises(QwenEmbedError) as caught:
        ours.embed_documents(texts)
    assert caught.value.positions == tuple(sorted(bad))
    good = sorted(set(range(count)) - bad)
    if good:
        assert caught.value.completed is not None
        np.testing.assert_allclose(caught.value.completed[good], tiny.vectors(texts)[good], atol=1e-6)
        assert np.isnan(caught.value.completed[sorted(bad)]).all()
    else:
        assert caught.value.completed is None


def test_a_refused_document_of_a_rerank_is_named_and_the_others_keep_their_scores(reranker: MakeReranker) -> None:
    documents = ["cats sleep", "bad", "dogs bark", "cats and dogs"]
    ours = reranker(lambda body: (400, {"error": "no"}, {}) if "bad" in body["documents"] else None)
    with pytest.raises(RequestRefusedError, match="`documents` holds a text at position 1") as caught:
        ours.rerank("cats sleep", documents)
    assert caught.value.positions == (1,)
    assert caught.value.completed is not None
    np.testing.assert_allclose(caught.value.completed, [1.0, np.nan, 0.0, 0.5])


def test_a_refused_query_is_not_blamed_on_the_documents(
    reranker_server: loopback.Server, reranker: MakeReranker
) -> None:
    ours = reranker(lambda body: (400, {"error": "no"}, {}) if body["query"] == "bad" else None)
    with pytest.raises(RequestRefusedError) as caught:
        ours.rerank("bad", [f"document {at}" for at in range(64)])
    assert caught.value.positions == ()
    assert len(reranker_server.posted()) == 2


def test_scores_that_are_not_finite_are_named(reranker: MakeReranker) -> None:
    rows = [{"index": 0, "score": 0.5}, {"index": 1, "score": float("nan")}, {"index": 2, "score": None}]
    with pytest.raises(BadReplyError, match="`documents` at 1, 2") as caught:
        reranker(lambda _: (200, rows, {})).rerank("q", ["a", "b", "c"])
    assert caught.value.positions == (1, 2)
    np.testing.assert_array_equal(caught.value.completed, [0.5, np.nan, np.nan])
