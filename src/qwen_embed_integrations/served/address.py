"""Where a server is and what is said to it in every request: checked, and kept out of messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from qwen_embed_integrations.errors import InvalidInputError

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
# Shorter header values are no secrets, and blanking them out would make messages unreadable.
SHORTEST_SECRET = 4
_KEY_HEADERS = {"authorization", "proxy-authorization"}


def normalize_base_url(base_url: str) -> str:
    """Return an address that ends where endpoints begin.

    Args:
        base_url: An http(s) address; `/v1` is added where there is no path.

    Raises:
        InvalidInputError: If it is no such address, or already names an endpoint.
    """
    try:
        parts = urlsplit(base_url.strip() if isinstance(base_url, str) else "")
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        usable = usable and not any(map(str.isspace, parts.netloc))
    except ValueError:  # half an IPv6 address, or a port that is no number
        usable = False
    if not usable:
        shown = base_url.rpartition("@")[2] if isinstance(base_url, str) else base_url
        raise InvalidInputError(
            f"`base_url` is {shown!r}; it must look like http://localhost:30000/v1.", parameter="base_url"
        )
    if "@" in parts.netloc:
        raise InvalidInputError(
            "`base_url` carries a user name or password, which would show wherever the address does. Pass "
            "default_headers={'Authorization': 'Basic ...'} instead.",
            parameter="base_url",
        )
    if parts.query:
        raise InvalidInputError(
            "`base_url` holds a query (after `?`), which requests would not carry; leave it out.", parameter="base_url"
        )
    path = parts.path.rstrip("/")
    for endpoint in ("/embeddings", "/rerank", "/reranks", "/reranking"):
        if path.endswith(endpoint):
            raise InvalidInputError(
                f"`base_url` ends in {endpoint}; leave that out, it is added for each request.", parameter="base_url"
            )
    return urlunsplit(parts._replace(path=path or "/v1", fragment=""))


def root_of(base_url: str) -> str:
    """Return an address without `/v1`; behind a proxy, what comes before it stays."""
    return base_url.removesuffix("/v1")


def whole_url(base_url: str, path: str) -> str:
    """Return the URL of a path below the base URL; one that is a URL already stays as it is."""
    return path if "://" in path else f"{base_url}/{path}"


def check_headers(api_key: str | None, default_headers: Mapping[str, str] | None) -> dict[str, str]:
    """Refuse what no header can carry, before the HTTP library does so with the secret in its message.

    Args:
        api_key: The key, if there is one.
        default_headers: The headers, if there are any.

    Returns:
        The headers.

    Raises:
        InvalidInputError: Naming the parameter and the header, never its value.
    """
    if api_key is not None and not _is_header_value(api_key):
        raise InvalidInputError(
            "`api_key` must be a string of ASCII characters without line breaks or spaces around it; "
            "was it read from a file? Strip it.",
            parameter="api_key",
        )
    if default_headers is None:
        return {}
    if not isinstance(default_headers, Mapping):
        raise InvalidInputError(
            f"`default_headers` is {type(default_headers).__name__}; it must be a mapping of names to values.",
            parameter="default_headers",
        )
    for name, value in default_headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise InvalidInputError(
                f"`default_headers` holds {name!r}, which is no name of a header.", parameter="default_headers"
            )
        if not _is_header_value(value):
            raise InvalidInputError(
                f"`default_headers` holds a value for {name} that is no ASCII string without line breaks or spaces "
                "around it.",
                parameter="default_headers",
            )
    return dict(default_headers)


def secrets_in(api_key: str | None, headers: Mapping[str, str]) -> list[str]:
    """Return what must never show in a message: the key and the headers' values."""
    # Servers echo a key without the scheme before it.
    bare = [value.partition(" ")[2].strip() for name, value in headers.items() if name.lower() in _KEY_HEADERS]
    secrets = {secret for secret in (api_key or "", *headers.values(), *bare) if len(secret) >= SHORTEST_SECRET}
    # The longest first: one may be part of another.
    return sorted(secrets, key=len, reverse=True)


def _is_header_value(value: Any) -> bool:
    return isinstance(value, str) and bool(_HEADER_VALUE.fullmatch(value)) and value == value.strip()
