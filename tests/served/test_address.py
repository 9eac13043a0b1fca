"""Addresses, keys and headers: what is accepted, and what never shows."""

from __future__ import annotations

from typing import Any

import pytest

from qwen_embed_integrations import Embedder
from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.served.address import normalize_base_url, secrets_in

MODEL = "Qwen/Qwen3-Embedding-0.6B"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://localhost:30000/v1", "http://localhost:30000/v1"),
        ("http://localhost:30000/v1/", "http://localhost:30000/v1"),
        ("http://localhost:30000", "http://localhost:30000/v1"),
        ("http://localhost:30000/", "http://localhost:30000/v1"),
        ("  http://localhost:30000/v1\n", "http://localhost:30000/v1"),
        ("https://host/compatible-mode/v1", "https://host/compatible-mode/v1"),
        ("https://host/api", "https://host/api"),
        ("http://[::1]:30000", "http://[::1]:30000/v1"),
    ],
)
def test_an_address_ends_where_endpoints_begin(given: str, used: str) -> None:
    assert normalize_base_url(given) == used


@pytest.mark.parametrize(
    "given",
    [
        "",
        "localhost:30000",
        "localhost",
        "/v1",
        "ftp://host/v1",
        "http://",
        "http:///v1",
        "http://[::1",
        "http://host:port/v1",
        "http://host:99999/v1",
        "http://my host/v1",
        None,
        30000,
        b"http://host/v1",
    ],
)
def test_what_is_no_address_is_refused_with_an_example(given: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"`base_url` is .* must look like http://localhost:30000/v1") as caught:
        Embedder.served(MODEL, base_url=given)
    assert caught.value.parameter == "base_url"


@pytest.mark.parametrize("endpoint", ["embeddings", "embeddings/", "rerank"])
def test_an_address_that_names_an_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(InvalidInputError, match=r"`base_url` ends in /.* leave that out"):
        Embedder.served(MODEL, base_url=f"http://localhost:30000/v1/{endpoint}")


def test_an_address_with_a_query_is_refused_since_the_query_would_be_lost() -> None:
    with pytest.raises(InvalidInputError, match="`base_url` holds a query"):
        Embedder.served(MODEL, base_url="http://localhost:30000/v1?api-version=3")


@pytest.mark.parametrize("base_url", ["http://me:hunter2@host/v1", "ftp://me:hunter2@host/v1", "http://hunter2@host"])
def test_an_address_with_a_password_is_refused_without_showing_it(base_url: str) -> None:
    with pytest.raises(InvalidInputError, match="`base_url`") as caught:
        Embedder.served(MODEL, base_url=base_url)
    assert "hunter2" not in str(caught.value)


def test_an_at_sign_in_the_path_is_no_password() -> None:
    assert normalize_base_url("http://host/v1/a@b") == "http://host/v1/a@b"


@pytest.mark.parametrize("api_key", ["sk-secret\n", " sk-secret", "sk-sec\r\nret", "ключ-secret", 5, b"sk-secret"])
def test_a_key_no_header_can_carry_is_refused_without_showing_it(api_key: Any) -> None:
    with pytest.raises(InvalidInputError, match="`api_key` must be a string of ASCII characters") as caught:
        Embedder.served(MODEL, base_url="http://localhost:1", api_key=api_key)
    assert "sec" not in str(caught.value)


@pytest.mark.parametrize("value", ["secret\n", "a\r\nX-Injected: secret", "sécret", 5, None, b"secret"])
def test_a_header_value_no_header_can_carry_is_refused_without_showing_it(value: Any) -> None:
    with pytest.raises(InvalidInputError, match="`default_headers` holds a value for X-Tenant") as caught:
        Embedder.served(MODEL, base_url="http://localhost:1", default_headers={"X-Tenant": value})
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["X Tenant", "X-Tenant:", "", "X\n", 5])
def test_a_header_name_that_is_none_is_refused(name: Any) -> None:
    with pytest.raises(InvalidInputError, match="which is no name of a header"):
        Embedder.served(MODEL, base_url="http://localhost:1", default_headers={name: "x"})


def test_headers_must_be_a_mapping() -> None:
    with pytest.raises(InvalidInputError, match="`default_headers` is list"):
        Embedder.served(MODEL, base_url="http://localhost:1", default_headers=[("a", "b")])


def test_secrets_are_the_key_and_the_headers_longest_first() -> None:
    found = secrets_in("sk-secret", {"X-Token": "token-1", "X-Flag": "1"})
    assert found == ["sk-secret", "token-1"]


@pytest.mark.parametrize("name", ["Authorization", "proxy-authorization"])
def test_what_comes_after_the_scheme_is_a_secret_by_itself(name: str) -> None:
    assert secrets_in(None, {name: "Bearer sk-secret"}) == ["Bearer sk-secret", "sk-secret"]
