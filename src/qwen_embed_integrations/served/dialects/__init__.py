"""How each server speaks: one small module a server, and the list of them."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, get_args
from urllib.parse import urlsplit

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.served.dialects import (
    cohere,
    dashscope,
    infinity,
    jina,
    llama_cpp,
    lm_studio,
    mixedbread,
    ollama,
    openai,
    plain,
    sglang,
    sglang_router,
    tei,
    vllm,
)
from qwen_embed_integrations.server_info import DialectName, Kind, ServerInfo

if TYPE_CHECKING:
    from qwen_embed_integrations.served.dialects.base import Dialect

# In the order in which a server is asked: what one answer to /v1/models settles comes first, and what needs more
# questions later. A new server is a module here and a name in `DialectName`.
DIALECTS: dict[Kind, Dialect] = {
    each.DIALECT.name: each.DIALECT
    for each in (
        sglang,
        vllm,
        llama_cpp,
        lm_studio,
        sglang_router,
        tei,
        infinity,
        ollama,
        openai,
        dashscope,
        jina,
        mixedbread,
        cohere,
        plain,
    )
}


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
