"""Which statuses become which errors, and what is tried again."""

from __future__ import annotations

import pickle
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest

import tiny
from qwen_embed_integrations import errors
from qwen_embed_integrations.served.failures import from_status, message_of, most_texts

if TYPE_CHECKING:
    from collections.abc import Callable

    import loopback
    from qwen_embed_integrations import Embedder

    Make = Callable[..., Embedder]

SOON = {"retry-after-ms": "5"}


def failing(
    times: int, status: int, body: Any = None, headers: dict[str, str] | None = None
) -> Callable[[list[str]], loopback.Answer | None]:
    """Answer so the first few times, then rightly."""
    left = iter([None] * times)

    def fail(_: list[str]) -> loopback.Answer | None:
        return (status, {} if body is None else body, SOON if headers is None else headers) if failing_now() else None

    def failing_now() -> bool:
        return next(left, "done") is None

    return fail


@pytest.mark.parametrize(
    ("status", "kind", "advice"),
    [
        (401, errors.ServerAuthenticationError, "No `api_key` was given"),
        (403, errors.ServerAuthenticationError, "Check `api_key`"),
        (404, errors.EndpointNotFoundError, "Is `base_url` right"),
        (405, errors.EndpointNotFoundError, "Is `base_url` right"),
        (400, errors.RequestRefusedError, "answered 400"),
        (413, errors.RequestRefusedError, "answered 413"),
        (422, errors.RequestRefusedError, "answered 422"),
        (424, errors.WrongServerError, "another kind"),
        (501, errors.WrongServerError, "another kind"),
        (408, errors.ServerBusyError, "Lower `max_concurrency`"),
        (409, errors.ServerBusyError, "Lower `max_concurrency`"),
        (429, errors.ServerBusyError, "Lower `max_concurrency`"),
        (500, errors.ServerBusyError, "Lower `max_concurrency`"),
        (503, errors.ServerBusyError, "Lower `max_concurrency`"),
    ],
)
def test_every_status_becomes_one_kind_of_error(
    embedder: Make, status: int, kind: type[errors.ServerError], advice: str
) -> None:
    with pytest.raises(kind, match=advice) as caught:
        embedder(lambda _: (status, {"error": {"message": "the reason"}}, {})).embed_documents(["a"])
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert "the reason" in str(caught.value)


def test_a_401_for_a_key_that_was_given_says_to_check_it(embedder: Make) -> None:
    with pytest.raises(errors.ServerAuthenticationError, match="Check `api_key`") as caught:
        embedder(lambda _: (401, {"error": "Unauthorized"}, {}), api_key="sk-wrong").embed_documents(["a"])
    assert "No `api_key`" not in str(caught.value)


@pytest.mark.parametrize("status", [401, 403, 404, 405, 424, 501])
def test_what_will_not_get_better_is_asked_once(server: loopback.Server, embedder: Make, status: int) -> None:
    with pytest.raises(errors.ServerError):
        embedder(lambda _: (status, {}, SOON), max_retries=3).embed_documents(["a"])
    assert len(server.posted()) == 1


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
def test_what_may_get_better_is_tried_again(server: loopback.Server, embedder: Make, status: int) -> None:
    found = embedder(failing(2, status), max_retries=3).embed_documents(["a"])
    assert found.shape == (1, tiny.SIZE)
    assert len(server.posted()) == 3


@pytest.mark.parametrize("max_retries", [0, 1, 3])
def test_retries_do_not_multiply(server: loopback.Server, embedder: Make, max_retries: int) -> None:
    with pytest.raises(errors.ServerBusyError):
        embedder(lambda _: (503, {}, SOON), max_retries=max_retries).embed_documents(["a"])
    assert len(server.posted()) == 1 + max_retries


async def test_retries_do_not_multiply_in_an_event_loop(server: loopback.Server, embedder: Make) -> None:
    with pytest.raises(errors.ServerBusyError):
        await embedder(lambda _: (503, {}, SOON), max_retries=2).aembed_documents(["a"])
    assert len(server.posted()) == 3


def test_an_empty_429_is_tried_again(server: loopback.Server, embedder: Make) -> None:
    assert embedder(failing(1, 429, b""), max_retries=1).embed_documents(["a"]).shape == (1, tiny.SIZE)
    assert len(server.posted()) == 2


def test_retry_after_is_waited_for(embedder: Make) -> None:
    ours = embedder(failing(1, 429, headers={"retry-after": "1"}), max_retries=1)
    start = time.perf_counter()
    ours.embed_documents(["a"])
    assert time.perf_counter() - start >= 1.0


def test_retry_after_may_be_a_date(embedder: Make) -> None:
    at = time.time() + 2
    ours = embedder(failing(1, 429, headers={"retry-after": formatdate(at, usegmt=True)}), max_retries=1)
    ours.embed_documents(["a"])
    assert time.time() >= int(at) - 0.1


def test_no_other_retry_layer_waits_on_top(embedder: Make) -> None:
    ours = embedder(lambda _: (503, {}, SOON), max_retries=3)
    start = time.perf_counter()
    with pytest.raises(errors.ServerBusyError):
        ours.embed_documents(["a"])
    assert time.perf_counter() - start < 1.5  # three of the SDK's own waits take more than two seconds


SGLANG_BUSY = {
    "object": "error",
    "message": "503: The request queue is full.",
    "type": "BadRequestError",
    "param": None,
    "code": 400,
}


def test_sglangs_full_queue_behind_a_400_is_tried_again(server: loopback.Server, embedder: Make) -> None:
    assert embedder(failing(1, 400, SGLANG_BUSY), max_retries=1).embed_documents(["a"]).shape == (1, tiny.SIZE)
    assert len(server.posted()) == 2


def test_sglangs_full_queue_behind_a_400_ends_as_busy(server: loopback.Server, embedder: Make) -> None:
    with pytest.raises(errors.ServerBusyError, match="request queue is full"):
        embedder(lambda _: (400, SGLANG_BUSY, SOON), max_retries=1).embed_documents(["a", "b", "c"])
    assert len(server.posted()) == 2


async def test_sglangs_full_queue_behind_a_400_is_tried_again_in_an_event_loop(
    server: loopback.Server, embedder: Make
) -> None:
    found = await embedder(failing(1, 400, SGLANG_BUSY), max_retries=1).aembed_documents(["a"])
    assert found.shape == (1, tiny.SIZE)
    assert len(server.posted()) == 2


def test_llama_cpps_500_for_a_long_text_is_not_tried_again(server: loopback.Server, embedder: Make) -> None:
    message = "input (949 tokens) is too large to process. increase the physical batch size (current batch size: 512)"
    said = (500, {"error": {"code": 500, "message": message, "type": "server_error"}}, SOON)
    answer = tiny.refusing(lambda text: len(text) > 5)
    ours = embedder(lambda texts: said if answer(texts) else None, max_retries=3, long_text="error")
    with pytest.raises(errors.TextTooLongError):
        ours.embed_documents(["a long text"])
    assert [request.body["input"] for request in server.posted()].count(["a long text"]) == 1


def test_a_used_up_quota_is_not_tried_again(server: loopback.Server, embedder: Make) -> None:
    body = {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}
    with pytest.raises(errors.ServerBusyError, match="exceeded your quota"):
        embedder(lambda _: (429, body, SOON), max_retries=3).embed_documents(["a"])
    assert len(server.posted()) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"object":"error","message":"flat","code":400}', "flat"),
        ('{"error":{"message":"nested","code":400}}', "nested"),
        ('{"error":"a string"}', "a string"),
        ('{"error":"Validation text","error_type":"Validation"}', "Validation text"),
        ('{"detail":"from FastAPI"}', "from FastAPI"),
        ('{"detail":[{"msg":"Field required"}]}', '[{"msg": "Field required"}]'),
        ('{"message":"TEI","code":422,"type":"Validation"}', "TEI"),
        ("plain\n  text", "plain text"),
        ('"a JSON string"', "a JSON string"),
        ("", ""),
        ("[]", "[]"),
        ("null", "null"),
    ],
)
def test_the_message_is_found_in_every_shape_of_error(body: str, message: str) -> None:
    assert message_of(body) == message


@pytest.mark.parametrize(
    "message",
    [
        "The input (40961 tokens) is longer than the model's context length (32768 tokens).",
        "This model's maximum context length is 512 tokens. However, your prompt contains at least 513 input tokens",
        "input (949 tokens) is too large to process. increase the physical batch size (current batch size: 512)",
        "the request exceeds the available context size, try increasing it",
        "input is larger than the max context size. skipping",
        "`inputs` must have less than 512 tokens. Given: 1000",
        "the input length exceeds the context length",
        "Range of input length should be [1, 8192]",
        "String should have at most 122880 characters",
    ],
)
def test_the_words_servers_have_for_a_long_text_are_known(message: str) -> None:
    refusal = from_status(500 if "too large" in message else 400, f'{{"error": "{message}"}}', "http://h/v1/embeddings")
    assert isinstance(refusal, errors.RequestRefusedError)
    assert refusal.too_long
    assert not refusal.too_many


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (413, "Payload Too Large"),
        (422, "batch size 64 > maximum allowed batch size 32"),
        (400, "Value error, batch size is invalid, it should not be larger than 10.: input.contents"),
        (422, "List should have at most 2048 items after validation, not 4000"),
        (400, "Invalid 'input': array too long. Expected an array with maximum length 2048, but got 3000 instead."),
        (400, "Requested 383018 tokens, max 300000 tokens per request"),
    ],
)
def test_the_words_servers_have_for_too_many_texts_are_known(status: int, message: str) -> None:
    refusal = from_status(status, f'{{"error": "{message}"}}', "http://h/v1/embeddings")
    assert isinstance(refusal, errors.RequestRefusedError)
    assert refusal.too_many
    assert not refusal.too_long


@pytest.mark.parametrize(
    ("message", "number"),
    [
        ("batch size 64 > maximum allowed batch size 32", 32),
        ("Value error, batch size is invalid, it should not be larger than 10.: input.contents", 10),
        ("List should have at most 2048 items after validation, not 4000", 2048),
        ("Expected an array with maximum length 2048, but got 3000: array too long", 2048),
        ("Requested 383018 tokens, max 300000 tokens per request", None),
        ("too many inputs", None),
        ("String should have at most 122880 characters", None),
    ],
)
def test_the_number_of_texts_a_refusal_allows_is_read(message: str, number: int | None) -> None:
    refusal = from_status(422, f'{{"error": "{message}"}}', "http://h/v1/embeddings")
    assert isinstance(refusal, errors.RequestRefusedError)
    assert most_texts(refusal) == number


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidInputError("bad", parameter="texts", positions=[1, 2]),
        errors.TextTooLongError("long", parameter="documents", positions=[3]),
        errors.RequestRefusedError("no", url="http://h/v1", status=400, body="b", positions=[4]),
        errors.MissingExtraError("gone", name="torch"),
        errors.ModelOutputError("NaN"),
    ],
)
def test_errors_survive_the_way_out_of_a_process_pool(error: errors.QwenEmbedError) -> None:
    back = pickle.loads(pickle.dumps(error))  # noqa: S301 our own bytes
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
