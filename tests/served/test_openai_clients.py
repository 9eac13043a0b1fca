"""What is sent along with every request, and what never comes back out in an error."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING

import pytest

import tiny
from qwen_embed_integrations.errors import BadReplyError, LongTextWarning, ServerError

if TYPE_CHECKING:
    from collections.abc import Callable

    import loopback
    from qwen_embed_integrations import Embedder

    Make = Callable[..., Embedder]

KEY, TENANT, PASSWORD = "sk-very-secret", "tenant-token-7", "hunter2secret"


def headers_of(server: loopback.Server) -> dict[str, str]:
    return {name.lower(): value for name, value in server.posted()[0].headers.items()}


def test_the_key_goes_as_a_bearer_token(server: loopback.Server, embedder: Make) -> None:
    embedder(api_key=KEY).embed_documents(["a"])
    assert headers_of(server)["authorization"] == f"Bearer {KEY}"


def test_default_headers_go_with_every_request(server: loopback.Server, embedder: Make) -> None:
    embedder(default_headers={"X-Tenant": TENANT}).embed_documents(["a"])
    assert {request.headers.get("X-Tenant", request.headers.get("x-tenant")) for request in server.requests} == {TENANT}


def test_an_authorization_header_of_ones_own_wins(server: loopback.Server, embedder: Make) -> None:
    embedder(default_headers={"Authorization": "Basic bWU6c2VjcmV0"}).embed_documents(["a"])
    assert headers_of(server)["authorization"] == "Basic bWU6c2VjcmV0"


@pytest.mark.parametrize("api_key", [None, ""])
def test_nothing_of_the_environment_meant_for_openai_is_sent_to_this_server(
    server: loopback.Server, embedder: Make, monkeypatch: pytest.MonkeyPatch, api_key: str | None
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "leaked")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Custom: leaked\nAuthorization: Bearer leaked")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://leaked.invalid/v1")
    embedder(api_key=api_key, default_headers={"X-Tenant": TENANT}).embed_documents(["a"])
    assert "leaked" not in str(headers_of(server))
    assert headers_of(server)["x-tenant"] == TENANT


async def test_nothing_of_the_environment_is_sent_from_an_event_loop(
    server: loopback.Server, embedder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "leaked")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Custom: leaked")
    await embedder().aembed_documents(["a"])
    assert "leaked" not in str(headers_of(server))


ECHO = f"Bearer {KEY} and {TENANT} and {PASSWORD}"
ECHOES = {
    "refusal": (400, {"error": {"message": f"bad request with {ECHO}"}}, {}),
    "authentication": (401, {"error": ECHO}, {}),
    "busy": (503, ECHO.encode(), {}),
    "at the cut": (400, "x" * 490 + KEY, {}),
    "at the cut of a message": (400, {"error": "x" * 490 + KEY}, {}),
    "not found": (404, {"detail": ECHO}, {}),
    "html": (200, f"<html>{ECHO}</html>".encode(), {}),
    "another shape": (200, {"echo": ECHO}, {}),
    "a bare list": (200, [ECHO], {}),
    "html, at the cut": (200, f"<html>{'x' * 184}{KEY}</html>".encode(), {}),
    "another shape, at the cut": (200, {"echo": "x" * 180 + KEY}, {}),
    "a bare list, at the cut": (200, ["x" * 188 + KEY], {}),
    "an odd index": (200, {"data": [{"index": ECHO, "embedding": [1.0]}]}, {}),
}


@pytest.mark.parametrize("said", ECHOES.values(), ids=ECHOES)
def test_an_echoed_secret_shows_nowhere_in_an_error(embedder: Make, said: loopback.Answer) -> None:
    ours = embedder(
        lambda _: said,
        api_key=KEY,
        default_headers={"X-Tenant": TENANT, "X-Password": PASSWORD},
    )
    with pytest.raises(ServerError) as caught:
        ours.embed_documents(["a"])
    error = caught.value
    shown = " ".join(
        [
            str(error),
            repr(error),
            error.body,
            error.url,
            *traceback.format_exception(error),
            repr(ours),
            repr(vars(error)),
        ]
    )
    assert [secret for secret in (KEY, TENANT, PASSWORD) if secret[:8] in shown] == []


def test_a_key_that_is_echoed_without_its_scheme_does_not_show(embedder: Make) -> None:
    ours = embedder(
        lambda _: (401, {"error": f"Incorrect API key provided: {KEY}"}, {}),
        default_headers={"Authorization": f"Bearer {KEY}"},
    )
    with pytest.raises(ServerError, match=r"provided: \*\*\*") as caught:
        ours.embed_documents(["a"])
    assert KEY not in f"{caught.value} {caught.value.body}"


async def test_an_echoed_secret_shows_nowhere_in_an_error_from_an_event_loop(embedder: Make) -> None:
    ours = embedder(lambda _: (200, f"<html>{KEY}</html>".encode(), {}), api_key=KEY)
    with pytest.raises(BadReplyError) as caught:
        await ours.aembed_documents(["a"])
    shown = " ".join([str(caught.value), caught.value.body, *traceback.format_exception(caught.value)])
    assert KEY not in shown


def test_secrets_do_not_show_when_the_server_is_gone(server: loopback.Server, embedder: Make) -> None:
    ours = embedder(api_key=KEY, default_headers={"X-Password": PASSWORD})
    server.close()
    with pytest.raises(ServerError) as caught:
        ours.embed_documents(["a"])
    shown = " ".join([str(caught.value), caught.value.url, *traceback.format_exception(caught.value)])
    assert [secret for secret in (KEY, PASSWORD) if secret in shown] == []


def test_secrets_do_not_show_in_debug_logs(embedder: Make, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        embedder(api_key=KEY, default_headers={"X-Tenant": TENANT}).embed_documents(["a"])
    assert [secret for secret in (KEY, TENANT) if secret in caplog.text] == []


def test_a_key_that_is_a_common_word_does_not_spoil_the_reading_of_a_refusal(embedder: Make) -> None:
    message = "The input (1202 tokens) is longer than the model's context length (512 tokens)."
    ours = embedder(
        tiny.refusing(lambda text: len(text) > 100, message), api_key="context", default_headers={"X-Model": "model"}
    )
    with pytest.warns(LongTextWarning):
        assert ours.embed_documents(["w" * 500]).shape == (1, tiny.SIZE)
