"""Commands that start a server rightly: this package's own, and the server's."""

from __future__ import annotations

import shlex
from importlib import resources
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from qwen_embed_integrations.errors import UnknownModelError
from qwen_embed_integrations.profiles import profile_for

if TYPE_CHECKING:
    from qwen_embed_integrations.doctor.server import ExaminedServer
    from qwen_embed_integrations.profiles import Pooling
    from qwen_embed_integrations.server_info import Task


def start_embedder(server: ExaminedServer, pooling: Pooling | None = None) -> str:
    """Return the commands for an embedding model, one a line.

    Args:
        server: Where it runs.
        pooling: What the server must be told of pooling; None for nothing.
    """
    build = server.dialect.remedies.start_embedder
    return _commands(server, "embed", build(_model(server), pooling) if build else None)


def start_reranker(server: ExaminedServer) -> str:
    """Return the commands for Qwen3-Reranker, one a line."""
    build = server.dialect.remedies.start_reranker
    template = resources.files("qwen_embed_integrations") / "serve" / "templates" / "qwen3_reranker.jinja"
    return _commands(server, "rerank", build(_model(server), shlex.quote(str(template))) if build else None)


def wider_precision(server: ExaminedServer) -> str:
    """Return what to do where half precision overflows."""
    flag = server.dialect.remedies.dtype_flag
    return f"Serve it in bfloat16 or float32{f': {flag}' if flag else '.'}"


def _commands(server: ExaminedServer, task: Task, servers_own: str | None) -> str:
    engine = server.dialect.remedies.engine
    ours = f"qwen-embed serve {_model(server)}{_description(server, task)}{f' --engine {engine}' if engine else ''}"
    return "\n".join(f"{command}{_port(server)}" for command in (ours, servers_own) if command)


def _description(server: ExaminedServer, task: Task) -> str:
    """Return what has to be said of a model whose name does not tell."""
    if _is_known(_started_as(server)):
        return ""
    if server.profile is not None:
        return f" --profile {server.profile.name}"
    return f" --task {task}{' --profile Qwen/Qwen3-Reranker-0.6B' if task == 'rerank' else ''}"


def _model(server: ExaminedServer) -> str:
    return shlex.quote(_started_as(server) or (server.profile.name if server.profile else server.model))


def _started_as(server: ExaminedServer) -> str | None:
    # A server's name for a model may be an alias, which starts nothing; that of a known model starts the right one.
    return server.info.model if _is_known(server.info.model) else server.report.root or server.info.model


def _is_known(model: str | None) -> bool:
    try:
        profile_for(model or "")
    except UnknownModelError:
        return False
    return True


def _port(server: ExaminedServer) -> str:
    parts = urlsplit(server.root_url)
    # On another host the port may be a proxy's.
    return f" --port {parts.port}" if parts.port and parts.hostname in {"localhost", "127.0.0.1", "::1"} else ""
