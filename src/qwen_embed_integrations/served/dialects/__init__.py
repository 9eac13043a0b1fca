"""How each server speaks: one small module a server, by the names in `server_info.DialectName`."""

from __future__ import annotations

from fnmatch import fnmatchcase
from importlib import import_module
from typing import TYPE_CHECKING, Literal, get_args
from urllib.parse import urlsplit

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.server_info import DialectName, Kind, ServerInfo

if TYPE_CHECKING:
    from qwen_embed_integrations.served.dialects.base import Dialect

# In the order of recognition; `unknown`, which recognises nothing, is the last.
DIALECTS: dict[Kind, Dialect] = {name: import_module(f"{__name__}.{name}").DIALECT for name in get_args(Kind)}
# How a server is spoken to that was not recognised, or has no form of its own for a task.
UNKNOWN = DIALECTS["unknown"]


def check_dialect(dialect: Literal["auto", DialectName] | ServerInfo) -> None:
    """Refuse what is no dialect.

    Raises:
        InvalidInputError: Listing the names.
    """
    if isinstance(dialect, ServerInfo) and dialect.kind in DIALECTS:
        return
    names = ("auto", *get_args(DialectName))
    if dialect not in names:
        raise InvalidInputError(
            f"`dialect` is {dialect!r}; it must be {', '.join(map(repr, names))}, or a ServerInfo of that kind.",
            parameter="dialect",
        )


def by_host(base_url: str) -> ServerInfo | None:
    """Return what a hosted API is known to be by its address, or None for other servers."""
    host = urlsplit(base_url).hostname or ""
    for dialect in DIALECTS.values():
        if any(fnmatchcase(host, pattern) for pattern in dialect.hosts):
            return ServerInfo(kind=dialect.name, version=dialect.hosted_version)
    return None
