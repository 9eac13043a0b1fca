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

    from qwen_embed_integrations.doctor.server import Examination, Reply
    from qwen_embed_integrations.served.flow import Flow

_UNIT = 1e-2
_TRY_UP_TO = 8192  # tokens; a longer text takes minutes on a slow server and shows nothing more


def check_dimensions_field(exam: Examination) -> Iterator[Finding]:
    """Does the server cut vectors on request, and how? Clients here cut by themselves; others do not."""
    text = samples.DISTINCT[1]
    full = exam.embed(text).values
    if len(vectors.unusable(full)):
        return  # found before, and nothing to compare
    size = full.shape[1]
    wanted = size // 2
    profile = exam.profile if isinstance(exam.profile, ModelProfile) else None
    trained = profile.min_dimensions is not None if profile else exam.is_qwen_embedding
    try:
        got = exam.embed(text, dimensions=wanted).values
    except RequestRefusedError as refusal:
        flag = {"sglang": "--json-model-override-args", "vllm": "--hf-overrides"}.get(exam.kind)
        yield (warning if trained else note)(
            "matryoshka",
            f"`dimensions` is refused: {refusal}",
            cause=f"The model's config.json does not say that its vectors may be cut; {flag} says it."
            if flag and trained
            else "The model is not known to allow it.",
            mend=(f"{remedies.embedder(exam)}\n" if trained else "")
            + "This package's classes need no such flag: they cut and normalise by themselves.",
        )
        return
    except BadReplyError as error:
        yield wrong("matryoshka", f"With `dimensions` the reply is unusable: {error}")
        return
    if got.shape[1] == size:
        yield warning(
            "matryoshka",
            f"`dimensions` {wanted} is ignored: {size} came back.",
            cause="SGLang does so up to 0.5.4, and llama.cpp does.",
            mend="Pass `dimensions` to this package's classes, which cut and normalise; other clients must cut.",
        )
    elif got.shape[1] != wanted or float(cosines(got, full[:, :wanted])[0]) < SAME:
        yield wrong(
            "matryoshka",
            f"With `dimensions` {wanted} the server gives {got.shape[1]} values that are not the first of the full "
            "vector.",
            cause="A proxy or the server projects, pads or mixes up vectors.",
            mend="Do not send `dimensions` to this server; this package's classes do not.",
        )
    elif abs(float(np.linalg.norm(got)) - 1) > _UNIT:
        yield warning(
            "matryoshka",
            f"Vectors cut to {wanted} dimensions have length {float(np.linalg.norm(got)):.3f}, not 1.",
            cause="The server cuts after it normalised (Infinity does).",
            mend="Use this package's classes, which normalise; with others use cosine, not dot products.",
        )
    elif trained or profile is None:
        yield ok("matryoshka", f"`dimensions` {wanted} gives the first {wanted} values, normalised.")
    else:
        yield note(
            "matryoshka",
            f"The server cuts vectors on request, though {exam.name} was not trained for that.",
            mend="Leave `dimensions` out.",
        )


def check_long_text(exam: Examination) -> Iterator[Finding]:
    """Is a text longer than the context refused, or cut in silence, and then with its end token?"""
    context, room = exam.context, exam.facts.room
    if context is None:
        yield note("long-text", "The server does not say how long a text may be; none was tried.")
        return
    if room is not None and room < context:
        yield warning(
            "long-text",
            f"A text may have {context} tokens, but only {room} fit into memory: texts in between never get an answer.",
            cause="SGLang 0.5.23 checks a text's length against the context only.",
            mend=f"Restart with --context-length {room - 8}, or with more memory: --mem-fraction-static.",
            context=context,
            room=room,
        )
        return
    if exam.facts.cuts and not context <= _TRY_UP_TO:
        yield _cut_in_silence(exam, context, keeps_end=None)
        return
    if context > _TRY_UP_TO:
        yield note("long-text", f"Texts may have {context} tokens; a longer one was not tried, to spare the server.")
        return
    text = " ".join(samples.words(seed, 64) for seed in range(context // 48 + 1))
    try:
        reply = exam.embed(text)
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
    yield _cut_in_silence(exam, context, keeps_end=_keeps_end(exam, text, reply))


def _cut_in_silence(exam: Examination, context: int, *, keeps_end: bool | None) -> Finding:
    found = f"Texts of more than {context} tokens are cut in silence"
    if not exam.is_qwen_embedding or keeps_end:
        return note("long-text", f"{found}{', keeping the end token' if keeps_end else ''}.", mend="Split long texts.")
    return warning(
        "long-text",
        f"{found}{', losing the end token that the vector is pooled from' if keeps_end is False else ''}.",
        cause={"sglang": "--allow-auto-truncate is on.", "tei": "--auto-truncate is on, as by default."}.get(
            exam.kind, "The server cuts by itself."
        ),
        mend="Switch it off: this package's classes then cut the text itself, keep the end, and warn.",
    )


def _keeps_end(exam: Examination, text: str, reply: Reply) -> bool | None:
    """Tell whether the server's cut is the beginning of the tokens with or without the end token."""
    tokens, kept = exam.tokens_of(text, special=False), reply.tokens
    end = exam.tokens_of(END, special=False)
    if tokens is None or not end or len(end) != 1 or not 1 < kept <= len(tokens):
        return None
    try:
        rows = exam.embed([tokens[: kept - 1] + end, tokens[:kept]]).values
    except ServerError:
        return None
    with_end, without = (float(cosines(reply.values, rows[[at]])[0]) for at in (0, 1))
    if max(with_end, without) < SAME or abs(with_end - without) < 1 - SAME:
        return None
    return with_end > without


def check_blank(exam: Examination) -> Iterator[Finding]:
    """What becomes of a blank text?"""
    try:
        exam.embed([samples.DISTINCT[0], " "])
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


def check_name(exam: Examination, task: str) -> Iterator[Finding]:
    """Does the server take any model name?"""
    path, body = exam.embeddings_path, exam.embed_body(samples.DISTINCT[0])
    if task == "rerank":
        path, body = exam.rerank_path, exam.rerank_body("a", ["b"])
    if "model" not in body:
        return
    try:
        exam.ask(path, body | {"model": "no-such-model"})
    except (EndpointNotFoundError, RequestRefusedError):
        yield ok("model-name", "A wrong model name is refused.")
    else:
        yield ok("model-name", f"Any model name is accepted; what answers is {exam.server.model or 'not said'}.")


def check_key(exam: Examination, *, has_key: bool) -> Iterator[Finding]:
    """Is the key asked for that was given here?"""
    if not has_key:
        return
    # A connection of its own: the other one always sends the key.
    connection = Connection(
        ServedOptions(base_url=exam.connection.base_url, max_concurrency=1, timeout=10, max_retries=0)
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
