"""What goes over the wire to embed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import loopback
import tiny
from qwen_embed_integrations import Embedder, ModelProfile
from qwen_embed_integrations.errors import BadReplyError, InvalidInputError, RequestRefusedError, WrongServerError

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[..., Embedder]

QWEN3 = "Qwen/Qwen3-Embedding-0.6B"


def test_only_strings_are_sent(server: loopback.Server, embedder: Make) -> None:
    embedder(batch_size=2).embed_documents(["a", "b", "c"])
    assert [type(text) for request in server.posted() for text in request.body["input"]] == [str, str, str]
    assert all(isinstance(request.body["input"], list) for request in server.posted())


def test_a_single_text_goes_as_a_list_too(server: loopback.Server, embedder: Make) -> None:
    embedder().embed_documents(["a"])
    assert server.posted()[0].body["input"] == ["a"]


def test_a_request_holds_these_fields_and_no_others(server: loopback.Server, embedder: Make) -> None:
    embedder().embed_documents(["a"])
    assert server.posted()[0].body == {"model": "tiny", "input": ["a"], "encoding_format": "base64"}


@pytest.mark.parametrize("encoding_format", ["float", "base64"])
def test_the_encoding_asked_for_is_always_said(server: loopback.Server, embedder: Make, encoding_format: str) -> None:
    embedder(encoding_format=encoding_format).embed_documents(["a"])
    assert server.posted()[0].body["encoding_format"] == encoding_format


@pytest.mark.parametrize("asked", ["float", "base64"])
@pytest.mark.parametrize("answered", ["float", "base64"])
def test_vectors_are_read_as_they_come_whatever_was_asked(embedder: Make, asked: str, answered: str) -> None:
    found = embedder(
        lambda texts: (200, loopback.embeddings_reply(texts, encoding_format=answered, size=tiny.SIZE), {}),
        encoding_format=asked,
    ).embed_documents(["a", "b"])
    np.testing.assert_allclose(found, tiny.vectors(["a", "b"]), atol=1e-6)


def test_whitespace_and_line_breaks_arrive_untouched(server: loopback.Server, embedder: Make) -> None:
    texts = ["  two\n\nlines\t", "\r\nend ", "e\u0301 \u200b \U0001f600", "nul \0 byte"]
    embedder().embed_documents(texts)
    assert server.texts() == texts


def test_a_query_gets_the_qwen3_prompt_without_a_space(server: loopback.Server) -> None:
    with Embedder.served(QWEN3, base_url=server.base_url) as embedder:
        embedder.embed_queries(["cats"], instruction="Find pets")
    assert server.texts() == ["Instruct: Find pets\nQuery:cats"]


def test_dimensions_of_qwen3_are_cut_here_and_not_sent(server: loopback.Server) -> None:
    with Embedder.served(QWEN3, base_url=server.base_url, dimensions=64) as embedder:
        found = embedder.embed_documents(["a"])
    assert "dimensions" not in server.posted()[0].body
    whole = loopback.vector("a")[:64]
    np.testing.assert_allclose(found[0], whole / np.linalg.norm(whole), atol=1e-6)


@pytest.mark.parametrize("model", ["text-embedding-3-small", "text-embedding-v4"])
def test_dimensions_of_hosted_models_are_sent(server: loopback.Server, model: str) -> None:
    server.reply(loopback.to_embeddings(lambda texts: (200, loopback.embeddings_reply(texts, size=256), {})))
    with Embedder.served(model, base_url=server.base_url, dimensions=256) as embedder:
        assert embedder.embed_documents(["a"]).shape == (1, 256)
    assert server.posted()[0].body["dimensions"] == 256


def test_a_hosted_model_is_not_sent_dimensions_nobody_asked_for(server: loopback.Server) -> None:
    server.reply(loopback.to_embeddings(lambda texts: (200, loopback.embeddings_reply(texts, size=1536), {})))
    with Embedder.served("text-embedding-3-small", base_url=server.base_url) as embedder:
        embedder.embed_documents(["a"])
    assert "dimensions" not in server.posted()[0].body


def test_a_hosted_model_that_ignores_dimensions_is_found_out(server: loopback.Server) -> None:
    server.reply(loopback.to_embeddings(lambda texts: (200, loopback.embeddings_reply(texts, size=1536), {})))
    with (
        Embedder.served("text-embedding-3-small", base_url=server.base_url, dimensions=256) as embedder,
        pytest.raises(BadReplyError, match="1536 dimensions where 256"),
    ):
        embedder.embed_documents(["a"])


def test_dashscope_gets_ten_texts_a_request_and_is_asked_for_floats(server: loopback.Server) -> None:
    with Embedder.served("text-embedding-v4", base_url=server.base_url, batch_size=64) as embedder:
        embedder.embed_documents([f"text {at}" for at in range(25)])
    bodies = [request.body for request in server.posted()]
    assert sorted(len(body["input"]) for body in bodies) == [5, 10, 10]
    assert {body["encoding_format"] for body in bodies} == {"float"}


def test_batch_size_is_the_most_texts_in_a_request(server: loopback.Server, embedder: Make) -> None:
    embedder(batch_size=4).embed_documents([f"text {at}" for at in range(10)])
    assert sorted(len(request.body["input"]) for request in server.posted()) == [2, 4, 4]


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, "8", None, True])
def test_a_batch_size_that_is_none_is_refused(embedder: Make, batch_size: Any) -> None:
    with pytest.raises(InvalidInputError, match="`batch_size`"):
        embedder(batch_size=batch_size)


def test_an_unknown_encoding_format_is_refused(embedder: Make) -> None:
    with pytest.raises(InvalidInputError, match="`encoding_format` is 'int8'"):
        embedder(encoding_format="int8")


def test_an_unknown_long_text_is_refused(embedder: Make) -> None:
    with pytest.raises(InvalidInputError, match="`long_text` is 'cut'"):
        embedder(long_text="cut")


def test_the_size_of_an_unknown_model_is_that_of_its_first_reply(embedder: Make) -> None:
    unknown = embedder(profile=ModelProfile(name="mystery", min_dimensions=1))
    assert unknown.dimensions is None
    unknown.embed_documents(["a"])
    assert unknown.dimensions == tiny.SIZE


def test_an_unknown_model_that_changes_its_size_between_batches_is_found_out(embedder: Make) -> None:
    unknown = embedder(
        lambda texts: (200, loopback.embeddings_reply(texts, size=8 if "a" in texts else 16), {}),
        profile=ModelProfile(name="mystery", min_dimensions=1),
        batch_size=1,
        max_concurrency=1,
    )
    with pytest.raises(BadReplyError, match="16 dimensions where 8 were expected") as caught:
        unknown.embed_documents(["a", "b"])
    assert caught.value.completed is not None
    assert caught.value.completed.shape == (2, 8)


def test_first_replies_of_different_sizes_at_the_same_time_do_not_both_pass(
    server: loopback.Server, embedder: Make
) -> None:
    # Long enough to read that another thread gets its turn in between.
    said = {str(size): json.dumps(tiny.reply([{"embedding": [1.5] * size}] * 8)[1]).encode() for size in (7000, 8000)}
    unknown = embedder(
        lambda texts: (200, said[texts[0]], {}),
        profile=ModelProfile(name="mystery", min_dimensions=1),
        batch_size=8,
    )
    for _ in range(5):
        unknown._engine.size = None
        server.latency = 0.02
        with pytest.raises(BadReplyError, match="were expected"):
            unknown.embed_documents(["7000"] * 8 + ["8000"] * 8)


def test_more_dimensions_than_an_unknown_model_gives_are_refused(embedder: Make) -> None:
    unknown = embedder(profile=ModelProfile(name="mystery", min_dimensions=1), dimensions=512)
    with pytest.raises(InvalidInputError, match="`dimensions` is 512, but mystery gives vectors of 8"):
        unknown.embed_documents(["a"])


def test_an_empty_first_vector_does_not_settle_the_size(embedder: Make) -> None:
    said = iter([tiny.reply([{"index": 0, "embedding": []}])])
    unknown = embedder(lambda _: next(said, None), profile=ModelProfile(name="mystery", min_dimensions=1))
    with pytest.raises(BadReplyError, match="an empty embedding"):
        unknown.embed_documents(["a"])
    assert unknown.embed_documents(["a"]).shape == (1, tiny.SIZE)


def test_a_reranker_behind_sglang_is_found_out_by_its_refusal(reranker_server: loopback.Server) -> None:
    with (
        Embedder.served(QWEN3, base_url=reranker_server.base_url, max_retries=0) as embedder,
        pytest.raises(WrongServerError, match="--is-embedding"),
    ):
        embedder.embed_documents(["a", "b"])
    assert len(reranker_server.posted()) == 1


def test_a_cross_encoder_that_sglang_would_embed_with_is_found_out(server: loopback.Server, embedder: Make) -> None:
    wrong = embedder()
    info = {"model_path": "bge", "is_generation": False, "architectures": ["XLMRobertaForSequenceClassification"]}
    inner = server._override
    server.reply(lambda request: (200, info, {}) if request.path == "/model_info" else inner and inner(request))
    with pytest.raises(WrongServerError, match=r"runs a reranker \(bge\)"):
        wrong.embed_documents(["a"])


def test_the_wrong_server_stays_wrong_at_the_second_call(server: loopback.Server, embedder: Make) -> None:
    wrong = embedder()
    info = {"model_path": "bge", "is_generation": False, "architectures": ["XLMRobertaForSequenceClassification"]}
    inner = server._override
    server.reply(lambda request: (200, info, {}) if request.path == "/model_info" else inner and inner(request))
    for _ in range(2):
        with pytest.raises(WrongServerError):
            wrong.embed_documents(["a"])


def test_the_server_is_asked_what_it_is_only_before_the_first_answer(server: loopback.Server, embedder: Make) -> None:
    ours = embedder()
    for text in ("a", "b", "c"):
        ours.embed_documents([text])
    asked = [request.path for request in server.requests if request.method == "GET"]
    assert sorted(asked) == sorted(set(asked))


def test_a_refusal_keeps_status_url_and_body(server: loopback.Server, embedder: Make) -> None:
    refusing = embedder(lambda _: (422, {"detail": "no such thing"}, {}))
    with pytest.raises(RequestRefusedError, match="no such thing") as caught:
        refusing.embed_documents(["a"])
    error = caught.value
    assert (error.status, error.url) == (422, f"{server.base_url}/embeddings")
    assert error.body == '{"detail": "no such thing"}'
