"""Are rerank scores what the API promises, and what the model's authors published?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qwen_embed_integrations import vectors
from qwen_embed_integrations.doctor import remedies
from qwen_embed_integrations.doctor.checks.golden_vectors import as_list
from qwen_embed_integrations.doctor.data import samples
from qwen_embed_integrations.doctor.data.golden import RED_PLANET, RED_PLANET_DOCUMENTS, SCORES
from qwen_embed_integrations.doctor.findings import Finding, note, ok, warning, wrong
from qwen_embed_integrations.errors import ServerConnectionError, ServerError
from qwen_embed_integrations.profiles import RerankProfile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_embed_integrations.doctor.server import ExaminedServer

_SAME = 0.02  # scores of one document: bfloat16 and batches move them by so much
_TOLERANCE = 0.05
_QUANTIZED_TOLERANCE = 0.15
_GOOD = 4 / 6
_CHANCE = 2 / 6
_PROMPT_TOKENS, _SHORT = 400, 600  # kept for a prompt; characters that fit any context
_TOP_N = 2
# Everything between these is what Qwen3-Reranker answers where its prompt is missing.
_MIDDLING = (0.5, 0.95)


def check_replies(server: ExaminedServer) -> Iterator[Finding]:
    """Does each document get its own finite score, alone, together and in another order?"""
    query = samples.QUESTIONS[2]
    documents = [
        *samples.ANSWERS[:4],
        samples.fit(samples.CODE, server.context - _PROMPT_TOKENS if server.context else _SHORT),
    ]
    together = server.rerank(query, documents).values
    if len(vectors.unusable(together)):
        yield wrong(
            "nan",
            "A score is NaN or infinite.",
            cause="Half precision (float16) overflows in this model.",
            mend=remedies.wider_precision(server),
        )
        return
    backwards = server.rerank(query, documents[::-1]).values[::-1]
    alone = np.concatenate([server.rerank(query, [document]).values for document in documents])
    apart = float(max(np.abs(together - backwards).max(), np.abs(together - alone).max()))
    if np.ptp(together) == 0:
        yield wrong(
            "constant",
            f"Every document gets the score {together[0]:.4f}.",
            cause="The server does not look at documents, or its head has no weights.",
            mend=remedies.start_reranker(server),
        )
    elif apart <= _SAME * max(1.0, float(np.ptp(together))):
        yield ok("batches", f"Documents get the same scores alone, together and in any order (within {apart:.1e}).")
    else:
        yield wrong(
            "order" if np.allclose(np.sort(together), np.sort(backwards), atol=_SAME) else "batches",
            f"A document's score depends on the others in the request, by up to {apart:.3f}.",
            cause="Scores come back in another order than their `index` says, or padding is attended to.",
            mend="Ask the server itself, without a proxy; update it.",
            together=[float(score) for score in together],
            alone=[float(score) for score in alone],
        )
    if ((together < 0) | (together > 1)).any():
        known = isinstance(server.profile, RerankProfile)
        yield (warning if known else note)(
            "score-range",
            f"Scores go from {together.min():.2f} to {together.max():.2f}, not from 0 to 1.",
            cause="The server returns raw log-odds.",
            mend="Their order is right; for thresholds take 1 / (1 + exp(-score)).",
        )
    else:
        yield ok("score-range", "Scores lie between 0 and 1.")


def check_golden(server: ExaminedServer) -> Iterator[Finding]:
    """Compare with the published scores of a known model, and see whether answers come before other texts."""
    known = SCORES.get(server.profile.name) if server.profile else None
    if known is None:
        yield from _judge_by_answers(server)
        return
    measured, published = server.rerank(known.query, known.documents).values, np.array(known.scores)
    off = float(np.abs(measured - published).max())
    both = f"measured {as_list(measured)}, published {as_list(published)}"
    bare = np.array(known.without_template or np.nan)
    if off <= _TOLERANCE:
        yield ok("golden", f"Scores are those published for {server.name}, within {off:.4f}.", source=known.source)
    elif bool((np.abs(measured - bare) <= _TOLERANCE).all()):
        yield wrong(
            "golden",
            f"Scores are those of {server.name} without its prompt: {both}.",
            cause="No chat template is loaded.",
            mend=remedies.start_reranker(server),
            source=known.source,
        )
    elif server.is_quantized and off <= _QUANTIZED_TOLERANCE:
        yield warning(
            "golden",
            f"Scores are off those published for {server.name} by up to {off:.3f}: {both}.",
            cause="The weights are quantized; so much is usual.",
            mend="Compare with the full weights before relying on thresholds.",
            source=known.source,
        )
    else:
        yield wrong(
            "golden",
            f"Scores are not those published for {server.name}, by up to {off:.3f}: {both}.",
            cause="See the finding on the template; if that is right, the server runs other weights.",
            mend=remedies.start_reranker(server),
            source=known.source,
        )


def _judge_by_answers(server: ExaminedServer) -> Iterator[Finding]:
    scores = np.stack([server.rerank(question, samples.ANSWERS).values for question in samples.QUESTIONS])
    planets = server.rerank(RED_PLANET, RED_PLANET_DOCUMENTS).values
    count = len(samples.QUESTIONS)
    share = float((scores.argmax(axis=1) == np.arange(count)).mean())
    upside_down = float((scores.argmin(axis=1) == np.arange(count)).mean())
    answered = f"{round(share * count)} of {count} questions find their answer"
    all_scores = np.concatenate([scores.ravel(), planets])
    middling = bool((all_scores >= _MIDDLING[0]).all() and (all_scores <= _MIDDLING[1]).all())
    if share >= _GOOD and not middling:
        yield ok("ranking", f"{answered}; no published scores are known for {server.name}.", share=share)
    elif upside_down >= _GOOD:
        yield wrong(
            "ranking",
            f"{answered}: the right ones come last.",
            cause=server.dialect.causes.scores_reversed,
            mend=remedies.start_reranker(server),
            share=share,
        )
    elif isinstance(server.profile, RerankProfile):
        yield wrong(
            "ranking",
            f"{answered}{', and every score lies between 0.5 and 0.95' if middling else ''}.",
            cause="The model's prompt is missing: that is what it does to scores."
            if middling
            else "Other weights or another prompt than the model's.",
            mend=remedies.start_reranker(server),
            share=share,
        )
    else:
        yield note(
            "ranking",
            f"{answered}{', no better than chance' if share <= _CHANCE else ''}"
            f"{', and every score lies between 0.5 and 0.95' if middling else ''}. Whether the scores mean what they "
            "should cannot be judged: the model is not known here.",
            cause="Untrained weights, or a model whose prompt is missing.",
            mend="Name what it is with --model, or compare with its own checkpoint: --reference FOLDER",
            share=share,
        )


def check_blank(server: ExaminedServer) -> Iterator[Finding]:
    """What becomes of a blank document?"""
    try:
        server.rerank(RED_PLANET, [RED_PLANET_DOCUMENTS[0], " "])
    except ServerConnectionError:
        raise
    except ServerError:
        yield ok("blank-text", "Blank documents are refused.")
    else:
        yield note(
            "blank-text", "Blank documents get a score.", mend="Leave them out; this package's classes refuse them."
        )


def check_top_n(server: ExaminedServer) -> Iterator[Finding]:
    """Does the server keep to `top_n`?"""
    if server.dialect.reranks is not None and not server.dialect.reranks.top_n:
        return
    body = server.rerank_body(RED_PLANET, RED_PLANET_DOCUMENTS) | {"top_n": _TOP_N}
    reply = server.ask(server.rerank_path, body)
    rows = reply if isinstance(reply, list) else reply.get("results") if isinstance(reply, dict) else None
    if isinstance(rows, list) and len(rows) == _TOP_N:
        yield ok("top-n", "`top_n` is kept to.")
    else:
        yield note(
            "top-n",
            f"`top_n` {_TOP_N} gives {len(rows) if isinstance(rows, list) else 'no list of'} documents.",
            cause=server.dialect.causes.top_n_ignored,
            mend="Nothing: this package's classes cut by themselves.",
        )
