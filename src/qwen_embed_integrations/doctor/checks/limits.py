"""What the server refuses, cuts or ignores: `dimensions`, long and blank texts, names, keys."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from qwen_embed_integrations import vectors
from qwen_embed_integrations.doctor import remedies
from qwen_embed_integrations.doctor.checks.replies import SAME
from qwen_embed_integrations.doctor.data import samples
from qwen_embed_integrations.doctor.findings import Finding, note, ok, warning, wrong
from qwen_embed_integrations.doctor.server import END, cosines
from qwen_embed_integrations.errors import (
    BadReplyError,
    EndpointNotFoundError,
    QwenEmbedError,
    RequestRefusedError,
    ServerAuthenticationError,
    ServerConnectionError,
    ServerError,
)
from qwen_embed_integrations.options import ServedOptions
from qwen_embed_integrations.profiles import ModelProfile
from qwen_embed_integrations.served.connection import Connection
from qwen_embed_integrations.served.flow import Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_embed_integrations.doctor.server import ExaminedServer, Reply
    from qwen_embed_integrations.served.flow import Flow

_UNIT = 1e-2
_TRY_UP_TO = 8192  # tokens; a longer text takes minutes on a slow server and shows nothing more


def check_dimensions_field(server: ExaminedServer) -> Iterator[Finding]:
    """Does the server cut vectors on request, and how? Clients here cut by themselves; others do not."""
    text = samples.DISTINCT[1]
    full = server.embed(text).values
    if len(vectors.unusable(full)):
        return  # reported before, and nothing to compare
    size = full.shape[1]
    wanted = size // 2
    profile = server.profile if isinstance(server.profile, ModelProfile) else None
    trained = profile.min_dimensions is not None if profile else server.is_qwen_embedding
    try:
        cut = server.embed(text, dimensions=wanted).values
    except RequestRefusedError as refusal:
        flag = server.dialect.remedies.matryoshka_flag
        yield (warning if trained else note)(
            "matryoshka",
            f"`dimensions` is refused: {refusal}",
            cause=f"The model's config.json does not say that its vectors may be cut; {flag} says it."
            if flag and trained
            else "The model is not known to allow it.",
            mend=(f"{remedies.start_embedder(server)}\n" if trained else "")
            + "This package's classes need no such flag: they cut and normalise by themselves.",
        )
        return
    except BadReplyError as error:
        yield wrong("matryoshka", f"With `dimensions` the reply is unusable: {error}")
        return
    if cut.shape[1] == size:
        yield warning(
            "matryoshka",
            f"`dimensions` {wanted} is ignored: {size} came back.",
            cause=server.dialect.causes.dimensions_ignored,
            mend="Pass `dimensions` to this package's classes, which cut and normalise; other clients must cut.",
        )
    elif cut.shape[1] != wanted or float(cosines(cut, full[:, :wanted])[0]) < SAME:
        yield wrong(
            "matryoshka",
            f"With `dimensions` {wanted} the server gives {cut.shape[1]} values that are not the first of the full "
            "vector.",
            cause="A proxy or the server projects, pads or mixes up vectors.",
            mend="Do not send `dimensions` to this server; this package's classes do not.",
        )
    elif abs(float(np.linalg.norm(cut)) - 1) > _UNIT:
        yield warning(
            "matryoshka",
            f"Vectors cut to {wanted} dimensions have length {float(np.linalg.norm(cut)):.3f}, not 1.",
            cause=server.dialect.causes.cut_unnormalized,
            mend="Use this package's classes, which normalise; with others use cosine, not dot products.",
        )
    elif trained or profile is None:
        yield ok("matryoshka", f"`dimensions` {wanted} gives the first {wanted} values, normalised.")
    else:
        yield note(
            "matryoshka",
            f"The server cuts vectors on request, though {server.name} was not trained for that.",
            mend="Leave `dimensions` out.",
        )


def check_long_text(server: ExaminedServer) -> Iterator[Finding]:
    """Is a text longer than the context refused, or cut in silence, and then with its end token?"""
    context, room = server.context, server.report.memory_tokens
    if context is None:
        yield note("long-text", "The server does not say how long a text may be; none was tried.")
        return
    if room is not None and room < context:
        yield warning(
            "long-text",
            f"A text may have {context} tokens, but only {room} fit into memory: texts in between never get an answer.",
            cause=server.dialect.causes.text_too_long_for_memory,
            mend=advise(room) if (advise := server.dialect.remedies.more_memory) else "Restart it with more memory.",
            context=context,
            room=room,
        )
        return
    if server.report.cuts_texts and not context <= _TRY_UP_TO:
        yield _cut_in_silence(server, context, keeps_end=None)
        return
    if context > _TRY_UP_TO:
        yield note("long-text", f"Texts may have {context} tokens; a longer one was not tried, to spare the server.")
        return
    text = " ".join(samples.words(seed, 64) for seed in range(context // 48 + 1))
    try:
        reply = server.embed(text)
    except ServerError as refusal:
        if isinstance(refusal, ServerConnectionError):
            raise
        if getattr(refusal, "too_long", False):
            yield ok("long-text", f"Texts of more than {context} tokens are refused; classes here cut them and warn.")
        else:
            yield warning("long-text", f"A text longer than {context} tokens is answered with: {refusal}")
        return
    if len(np.flatnonzero(~np.isfinite(reply.values))):
        yield wrong("long-text", "A text longer than the context gets NaN.")
        return
    yield _cut_in_silence(server, context, keeps_end=_keeps_end(server, text, reply))


def _cut_in_silence(server: ExaminedServer, context: int, *, keeps_end: bool | None) -> Finding:
    cut = f"Texts of more than {context} tokens are cut in silence"
    if not server.is_qwen_embedding or keeps_end:
        return note("long-text", f"{cut}{', keeping the end token' if keeps_end else ''}.", mend="Split long texts.")
    return warning(
        "long-text",
        f"{cut}{', losing the end token that the vector is pooled from' if keeps_end is False else ''}.",
        cause=server.dialect.causes.long_text_cut,
        mend="Switch it off: this package's classes then cut the text itself, keep the end, and warn.",
    )


def _keeps_end(server: ExaminedServer, text: str, reply: Reply) -> bool | None:
    """Tell whether the server's cut is the beginning of the tokens with or without the end token."""
    tokens, kept = server.tokens_of(text, special=False), reply.tokens
    end = server.tokens_of(END, special=False)
    if tokens is None or not end or len(end) != 1 or not 1 < kept <= len(tokens):
        return None
    try:
        rows = server.embed([tokens[: kept - 1] + end, tokens[:kept]]).values
    except ServerError:
        return None
    with_end, without = (float(cosines(reply.values, row)[0]) for row in np.split(rows, 2))
    if max(with_end, without) < SAME or abs(with_end - without) < 1 - SAME:
        return None
    return with_end > without


def check_blank(server: ExaminedServer) -> Iterator[Finding]:
    """What becomes of a blank text?"""
    try:
        server.embed([samples.DISTINCT[0], " "])
    except BadReplyError as error:
        yield warning("blank-text", f"A blank text breaks the reply: {error}")
    except ServerConnectionError:
        raise
    except ServerError:
        yield ok("blank-text", "Blank texts are refused.")
    else:
        yield note(
            "blank-text",
            "Blank texts get a vector, of nothing but the end token or a prompt.",
            mend="Leave blank texts out; this package's classes refuse them.",
        )


def check_name(server: ExaminedServer, task: str) -> Iterator[Finding]:
    """Does the server take any model name?"""
    path, body = server.embeddings_path, server.embed_body(samples.DISTINCT[0])
    if task == "rerank":
        path, body = server.rerank_path, server.rerank_body("a", ["b"])
    if "model" not in body:
        return
    try:
        server.ask(path, body | {"model": "no-such-model"})
    except (EndpointNotFoundError, RequestRefusedError):
        yield ok("model-name", "A wrong model name is refused.")
    else:
        yield ok("model-name", f"Any model name is accepted; what answers is {server.info.model or 'not said'}.")


def check_key(server: ExaminedServer, *, has_key: bool) -> Iterator[Finding]:
    """Is the key asked for that was given here?"""
    if not has_key:
        return
    # A connection of its own: the other one always sends the key.
    connection = Connection(
        ServedOptions(base_url=server.connection.base_url, max_concurrency=1, timeout=10, max_retries=0)
    )
    with closing(connection):

        def models() -> Flow[bytes]:
            return (yield Request("models"))

        try:
            list(connection.run([models()]))
        except ServerAuthenticationError:
            yield ok("key", "Requests without the key are refused.")
        except QwenEmbedError:
            return
        else:
            yield note(
                "key",
                "The server lists its models without the key.",
                cause="It was started without a key, or guards only some of its routes.",
                mend="Start it with --api-key, and bind it to 127.0.0.1 unless others need it.",
            )
