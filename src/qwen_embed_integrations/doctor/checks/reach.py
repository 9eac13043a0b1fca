"""Does the server answer, and what is it?"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from qwen_embed_integrations.doctor.findings import Finding, note, ok, warning, wrong
from qwen_embed_integrations.doctor.self_report import gather
from qwen_embed_integrations.errors import (
    BadReplyError,
    EndpointNotFoundError,
    QwenEmbedError,
    ServerAuthenticationError,
    ServerBusyError,
    ServerConnectionError,
    ServerError,
    UnknownModelError,
)
from qwen_embed_integrations.profiles import ModelProfile, RerankProfile, profile_for
from qwen_embed_integrations.served.dialects import DIALECTS, by_host
from qwen_embed_integrations.served.probe import probe
from qwen_embed_integrations.served.questions import Questions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_embed_integrations.doctor.server import ExaminedServer
    from qwen_embed_integrations.served.dialects.base import Dialect
    from qwen_embed_integrations.server_info import DialectName

_NAMELESS = "model"  # what requests call a model that nobody names


def recognise(server: ExaminedServer, model: str | None, dialect: str) -> Iterator[Finding]:
    """Find out what the server is and runs, and note it.

    Args:
        server: Filled in here.
        model: What the caller says the model is.
        dialect: What the caller says the server is, or `"auto"`.
    """
    hidden: ServerAuthenticationError | None = None
    # Patient, unlike the questions of the probe: a server that is busy or loading says so here.
    try:
        server.ask(f"{server.root_url}/v1/models")
    except (ServerConnectionError, ServerBusyError) as error:
        yield unanswered(error)
        return
    except ServerAuthenticationError as error:
        hidden = error
    except ServerError:
        pass  # not every server has the route
    stated = DIALECTS[cast("DialectName", dialect)] if dialect != "auto" else None
    hosted = by_host(server.connection.base_url)
    if hosted is not None and stated is None:
        server.info = hosted
    else:
        yield from _ask_what_it_is(server, model, stated)
    # What it tells all the same, through a proxy that guards the list alone, is worth more than that it wants a key.
    if hidden is not None and (hosted is not None or not server.dialect.is_known):
        yield unanswered(hidden)
        return
    if hidden is not None:
        yield warning(
            "key",
            f"The list of models wants a key, or another one: {hidden}",
            mend="Put the key into an environment variable and name it: --api-key-env NAME",
        )
    server.model = server.report.served_name or model or server.info.model or _NAMELESS
    stated_profile = _profile(model)
    names = (server.report.root, server.info.model, server.report.served_name)
    running = next((profile for profile in map(_profile, names) if profile), None)
    server.profile = stated_profile or running
    yield from _introduce(server)
    if stated_profile and running and stated_profile is not running:
        yield wrong(
            "other-model",
            f"`--model` says {stated_profile.name}, the server runs {running.name}.",
            cause="The URL is that of another server, or the wrong model was started.",
            mend=f"qwen-embed serve {stated_profile.name}",
        )
    yield from _name_unknown(server, model)


def _ask_what_it_is(server: ExaminedServer, model: str | None, stated: Dialect | None) -> Iterator[Finding]:
    try:
        (server.info,) = server.connection.run([probe(server.root_url, model=model, named=stated)])
        if stated is not None:
            (unprompted,) = server.connection.run([probe(server.root_url, model=model)])
            if unprompted.kind != stated.name and DIALECTS[unprompted.kind].is_known:
                yield warning(
                    "other-server",
                    f"`--dialect` says {stated.title}, the server answers as {DIALECTS[unprompted.kind].title} does.",
                    cause="The URL is that of another server, or --dialect is wrong.",
                    mend="Leave --dialect out.",
                )
    except ServerError as error:
        yield warning("server", f"What the server is could not be found out: {error}")
    (server.report,) = server.connection.run([gather(Questions(server.root_url), server.dialect)])


def _introduce(server: ExaminedServer) -> Iterator[Finding]:
    info, report, dialect = server.info, server.report, server.dialect
    details = (
        f"version {info.version}" if info.version else "",
        report.architectures[0] if report.architectures else "",
        f"up to {info.max_tokens} tokens" if info.max_tokens else "",
    )
    more = ", ".join(filter(None, details))
    software = dialect.title if dialect.is_known else "A server"
    yield ok(
        "server",
        f"{software} runs {info.model or 'a model it does not name'}{f' ({more})' if more else ''}.",
        kind=info.kind,
        version=info.version,
        model=info.model,
        profile=server.profile.name if server.profile else None,
    )
    if not dialect.is_known:
        yield note("server-unknown", "The software was not recognised: it is asked as OpenAI's API is.")


def _name_unknown(server: ExaminedServer, model: str | None) -> Iterator[Finding]:
    try:
        profile_for(model or server.name)
    except UnknownModelError as error:
        if model is not None:
            yield warning(
                "model-unknown",
                f"{str(error).replace('`model`', '`--model`')} Published numbers cannot be compared.",
                cause="The name is misspelt, or is that of a fine-tune.",
                mend="Name what it was made from, such as --model Qwen/Qwen3-Embedding-0.6B.",
            )
        elif server.profile is None and server.name != _NAMELESS:
            yield note(
                "model-unknown",
                f"{server.name} is no model that is known here: published numbers cannot be compared.",
                mend="Name what it is with --model, such as --model Qwen/Qwen3-Embedding-0.6B.",
            )


def _profile(name: str | None) -> ModelProfile | RerankProfile | None:
    try:
        return profile_for(name) if name else None
    except UnknownModelError:
        return None


def unanswered(error: ServerError) -> Finding:
    """Return what a failed request means, whatever was asked."""
    if isinstance(error, ServerAuthenticationError):
        return wrong(
            "key",
            f"The server wants a key, or another one: {error}",
            mend="Put the key into an environment variable and name it: --api-key-env NAME",
        )
    if isinstance(error, ServerBusyError):
        return wrong(
            "busy",
            f"The server is busy or failing: {error}",
            cause="It is still loading, its queue is full, or it crashes on requests.",
            mend="Wait until GET /health answers 200, look at its log, and try again.",
        )
    if isinstance(error, ServerConnectionError):
        return wrong(
            "unreachable",
            str(error),
            cause="It is not running, still loading, bound to another address, or behind a firewall.",
            mend="Check the host and port, and the server's log.",
        )
    if isinstance(error, EndpointNotFoundError):
        return wrong(
            "no-route",
            str(error),
            cause="The URL is that of something else, or lacks a part of its path.",
            mend="Give the address up to /v1, such as http://localhost:30000/v1.",
        )
    if isinstance(error, BadReplyError):
        return wrong(
            "bad-reply",
            str(error),
            cause="A proxy or login page answers, or the server does not speak this API.",
            mend="Ask the server itself, without a proxy.",
        )
    return wrong("refused", str(error), mend="Read what the server says; its log may say more.")


def is_alive(server: ExaminedServer) -> bool:
    """Tell whether the server still answers anything."""
    try:
        server.ask(f"{server.root_url}/v1/models", optional=True)
    except ServerConnectionError:
        return False
    except QwenEmbedError:
        return True
    return True
