"""Are the replies what the API promises: readable, finite, of unit length, in order, the same alone and together?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qwen_embed_integrations import vectors
from qwen_embed_integrations.doctor import remedies
from qwen_embed_integrations.doctor.data import samples
from qwen_embed_integrations.doctor.findings import Finding, note, ok, warning, wrong
from qwen_embed_integrations.doctor.server import cosines, unit
from qwen_embed_integrations.errors import RequestRefusedError
from qwen_embed_integrations.profiles import ModelProfile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_embed_integrations.doctor.server import ExaminedServer

# Cosine of two vectors of one text: above it is rounding, bfloat16 included.
SAME = 0.999
_UNIT = 1e-2  # bfloat16 has 8 bits
_EQUAL = 1e-6  # two ways to write the same float32


def check_shape(server: ExaminedServer) -> Iterator[Finding]:
    """Are vectors finite, of the model's size, and of length 1?"""
    rows = server.embed(list(samples.DISTINCT)).values
    size = rows.shape[1]
    bad = vectors.unusable(rows)
    if len(bad):
        yield wrong(
            "nan",
            f"{len(bad)} of {len(rows)} short texts got vectors that are not finite, or all zero.",
            cause="Half precision overflows in this model.",
            mend=remedies.wider_precision(server),
        )
        return
    expected = server.profile.dimensions if isinstance(server.profile, ModelProfile) else None
    if expected not in {None, size}:
        yield wrong(
            "dimensions",
            f"Vectors have {size} dimensions; {server.name} has {expected}.",
            cause="The server runs another model, or cuts or pads vectors by default.",
            mend=remedies.start_embedder(server),
            size=size,
            expected=expected,
        )
    else:
        yield ok("dimensions", f"{size} dimensions.", size=size)
    lengths = np.linalg.norm(rows, axis=1)
    farthest = float(lengths[np.abs(lengths - 1).argmax()])
    if abs(farthest - 1) <= _UNIT:
        yield ok("unit-length", "Vectors have length 1.", farthest=farthest)
    else:
        natural = isinstance(server.profile, ModelProfile) and not server.profile.normalize
        yield (note if natural else warning)(
            "unit-length",
            f"Vectors are not of length 1: one measures {farthest:.3f}.",
            cause="The model's own pipeline does not normalise." if natural else "The server does not normalise.",
            mend="This package's classes normalise by themselves; with others use cosine, not dot products.",
            lengths=[round(float(length), 4) for length in lengths],
        )


def check_batches(server: ExaminedServer) -> Iterator[Finding]:
    """Does a text get its own vector, alone, in a batch beside a long text, and in another order?"""
    texts = [*samples.DISTINCT, samples.fit(samples.LONG, server.context)]
    alone = unit(np.concatenate([server.embed(text).values for text in texts]))
    # The first text twice: equal texts in one request are a case of their own.
    forwards = unit(server.embed([*texts, texts[0]]).values)
    backwards = unit(server.embed(texts[::-1]).values)[::-1]
    if any(len(vectors.unusable(rows)) for rows in (alone, forwards, backwards)):
        yield wrong(
            "nan",
            "A text gets a vector that is not finite, or all zero, alone or in a batch.",
            cause="Half precision overflows in this model.",
            mend=remedies.wider_precision(server),
        )
        return
    among = alone @ alone.T
    np.fill_diagonal(among, -1)
    if among.max() > 1 - _EQUAL:
        yield wrong(
            "constant",
            "Different texts get the same vector.",
            cause="The server ignores the text, answers out of a cache, or pools from a token that sees none of it.",
            mend=remedies.start_embedder(server),
        )
        return
    worst = 1.0
    for rows in (forwards[: len(texts)], forwards[len(texts) :], backwards):
        likeness = rows @ alone[: len(rows)].T
        to_itself = np.diagonal(likeness)
        nearest = likeness.argmax(axis=1)
        misplaced = [
            position for position in range(len(rows)) if nearest[position] != position and to_itself[position] < SAME
        ]
        if misplaced and likeness.max(axis=1)[misplaced].min() >= SAME:
            yield wrong(
                "order",
                f"In a batch, text {misplaced[0]} gets the vector of text {int(nearest[misplaced[0]])}.",
                cause="The server, or a proxy before it, returns vectors in another order than it was given texts.",
                mend="Ask the server itself, without the proxy; until then send one text a request (batch_size=1).",
                misplaced=misplaced,
            )
            return
        worst = min(worst, float(to_itself.min()))
    if worst >= SAME:
        yield ok("batches", f"Alone and in batches, in any order, texts get the same vectors (cosine {worst:.6f}).")
        return
    yield wrong(
        "batches",
        f"A text gets another vector in a batch than alone (cosine {worst:.4f}).",
        cause="Padding is attended to or pooled: a bug of the server's version, or a model class without a mask.",
        mend="Update the server; until then send one text a request (batch_size=1).",
        cosine=worst,
    )


def check_base64(server: ExaminedServer) -> Iterator[Finding]:
    """Do base64 and floats hold the same numbers?"""
    text = samples.DISTINCT[0]
    (plain,) = rows = server.embed(text).values
    if len(vectors.unusable(rows)):
        return  # reported before, and nothing to compare with
    if server.dialect.embeds is not None and not server.dialect.embeds.base64:
        yield ok("base64", f"{server.dialect.title} speaks floats only, and is asked for them.")
        return
    try:
        reply = server.ask(server.embeddings_path, server.embed_body([text], "base64"))
    except RequestRefusedError as refusal:
        yield warning(
            "base64",
            f"base64 is refused: {refusal}",
            cause="The server knows floats only.",
            mend="Pass encoding_format='float'. OpenAI's own client asks for base64 unless told otherwise.",
        )
        return
    embedding = _first_embedding(reply)
    if isinstance(embedding, list):
        yield note(
            "base64",
            "Asked for base64, the server answers with floats, at three to four times the bytes.",
            cause=server.dialect.causes.base64_ignored,
            mend=server.dialect.remedies.update or "Nothing: clients here read either.",
        )
        return
    try:
        decoded = vectors.decode(embedding).astype(np.float64)
    except ValueError as error:
        yield wrong(
            "base64",
            f"The base64 reply cannot be read: {error}.",
            cause="A proxy cuts or rewrites replies, or the numbers are no little-endian float32.",
            mend="Pass encoding_format='float', or ask the server itself.",
        )
        return
    # Two requests, so rounding may differ between them; a wrong byte order or type shows at once.
    same = len(decoded) == len(plain) and float(cosines(decoded[None], plain[None])[0]) >= SAME
    same = same and bool(np.isclose(np.linalg.norm(decoded), np.linalg.norm(plain), rtol=_UNIT))
    if same:
        yield ok("base64", "base64 holds the same numbers as floats.")
        return
    yield wrong(
        "base64",
        f"base64 holds other numbers than floats ({len(decoded)} of them, {len(plain)} as floats).",
        cause="They are no little-endian float32, or a proxy rewrites them.",
        mend="Pass encoding_format='float', or ask the server itself.",
    )


def check_code(server: ExaminedServer) -> Iterator[Finding]:
    """Does source code get finite vectors? In half precision it is the first to overflow."""
    context = server.context
    texts = [samples.fit(samples.CODE[:300], context), samples.fit(samples.CODE, context)]
    if context is None or context > 2048:  # noqa: PLR2004 tokens; the text has about 1,500
        texts.append(samples.CODE * 6)
    for text in texts:
        try:
            values = server.embed(text).values
        except RequestRefusedError:
            if text is texts[0]:
                raise
            break  # longer than a context that is not known
        if not len(vectors.unusable(values)):
            continue
        yield wrong(
            "nan",
            f"A text of {len(text)} characters of source code gets NaN, or zeros.",
            cause="Half precision (float16) overflows in this model.",
            mend=remedies.wider_precision(server),
        )
        return
    yield ok("nan", "Source code gets finite vectors.")


def _first_embedding(reply: Any) -> Any:
    rows = reply.get("data") if isinstance(reply, dict) else None
    return rows[0].get("embedding") if isinstance(rows, list) and rows and isinstance(rows[0], dict) else None
