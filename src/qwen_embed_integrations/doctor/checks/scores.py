"""Are rerank scores what the API promises, and what the model's authors published?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qwen_embed_integrations import vectors
from qwen_embed_integrations.doctor import remedies
from qwen_embed_integrations.doctor.checks.golden_vectors import is_quantized
from qwen_embed_integrations.doctor.data import samples
from qwen_embed_integrations.doctor.data.golden import RED_PLANET, RED_PLANET_DOCUMENTS, SCORES
from qwen_embed_integrations.doctor.findings import Finding, note, ok, warning, wrong
from qwen_embed_integrations.errors import ServerConnectionError, ServerError
from qwen_embed_integrations.profiles import RerankProfile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_embed_integrations.doctor.server import Examination

_SAME = 0.02  # scores of one document: bfloat16 and batches move them by so much
_TOLERANCE = 0.05
_QUANTIZED_TOLERANCE = 0.15
_GOOD = 4 / 6
_CHANCE = 2 / 6
_PROMPT, _SHORT = 400, 600  # tokens kept for a prompt, characters that fit any context
# Everything between these: what Qwen3-Reranker answers where its prompt is missing.
_MIDDLING = (0.5, 0.95)


def check_replies(exam: Examination) -> Iterator[Finding]:
    """Does each document get its own finite score, alone, together and in another order?"""
    query = samples.QUESTIONS[2]
    documents = [*samples.ANSWERS[:4], samples.fit(samples.CODE, exam.context - _PROMPT if exam.context else _SHORT)]
    together = exam.rerank(query, documents).values
    if len(vectors.unusable(together)):
        yield wrong(
            "nan",
            "A score is NaN or infinite.",
            cause="Half precision (float16) overflows in this model.",
            mend="Serve it in bfloat16 or float32: --dtype bfloat16",
        )
        return
    backwards = exam.rerank(query, documents[::-1]).values[::-1]
    alone = np.concatenate([exam.rerank(query, [document]).values for document in documents])
    apart = float(max(np.abs(together - backwards).max(), np.abs(together - alone).max()))
    if np.ptp(together) == 0:
        yield wrong(
            "constant",
            f"Every document gets the score {together[0]:.4f}.",
            cause="The server does not look at documents, or its head has no weights.",
            mend=remedies.reranker(exam),
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
        known = isinstance(exam.profile, RerankProfile)
        yield (warning if known else note)(
            "score-range",
            f"Scores go from {together.min():.2f} to {together.max():.2f}, not from 0 to 1.",
            cause="The server returns raw log-odds.",
            mend="Their order is right; for thresholds take 1 / (1 + exp(-score)).",
        )
    else:
        yield ok("score-range", "Scores lie between 0 and 1.")


def check_golden(exam: Examination) -> Iterator[Finding]:
    """Compare with the published scores of a known model, and see whether answers come before other texts."""
    known = SCORES.get(exam.profile.name) if exam.profile else None
    if known is None:
        yield from _judge_by_answers(exam)
        return
    got, want = exam.rerank(known.query, known.documents).values, np.array(known.scores)
    off = float(np.abs(got - want).max())
    shown = f"measured {_list(got)}, published {_list(want)}"
    bare = np.array(known.without_template or np.nan)
    if off <= _TOLERANCE:
        yield ok("golden", f"Scores are those published for {exam.name}, within {off:.4f}.", source=known.source)
    elif bool((np.abs(got - bare) <= _TOLERANCE).all()):
        yield wrong(
            "golden",
            f"Scores are those of {exam.name} without its prompt: {shown}.",
            cause="No chat template is loaded.",
            mend=remedies.reranker(exam),
            source=known.source,
        )
    elif is_quantized(exam) and off <= _QUANTIZED_TOLERANCE:
        yield warning(
            "golden",
            f"Scores are off those published for {exam.name} by up to {off:.3f}: {shown}.",
            cause="The weights are quantized; so much is usual.",
            mend="Compare with the full weights before relying on thresholds.",
            source=known.source,
        )
    else:
        yield wrong(
            "golden",
            f"Scores are not those published for {exam.name}, by up to {off:.3f}: {shown}.",
            cause="See the finding on the template; if that is right, the server runs other weights.",
            mend=remedies.reranker(exam),
            source=known.source,
        )


def _judge_by_answers(exam: Examination) -> Iterator[Finding]:
    scores = np.stack([exam.rerank(question, samples.ANSWERS).values for question in samples.QUESTIONS])
    planets = exam.rerank(RED_PLANET, RED_PLANET_DOCUMENTS).values
    count = len(samples.QUESTIONS)
    share = float((scores.argmax(axis=1) == np.arange(count)).mean())
    upside_down = float((scores.argmin(axis=1) == np.arange(count)).mean())
    told = f"{round(share * count)} of {count} questions find their answer"
    every = np.concatenate([scores.ravel(), planets])
    middling = bool((every >= _MIDDLING[0]).all() and (every <= _MIDDLING[1]).all())
    if share >= _GOOD and not middling:
        yield ok("ranking", f"{told}; no published scores are known for {exam.name}.", share=share)
    elif upside_down >= _GOOD:
        yield wrong(
            "ranking",
            f"{told}: the right ones come last.",
            cause='Scores are upside down. On vLLM "classifier_from_token" must be ["no", "yes"], in that order.',
            mend=remedies.reranker(exam),
            share=share,
        )
    elif isinstance(exam.profile, RerankProfile):
        yield wrong(
            "ranking",
            f"{told}{', and every score lies between 0.5 and 0.95' if middling else ''}.",
            cause="The model's prompt is missing: that is what it does to scores."
            if middling
            else "Other weights or another prompt than the model's.",
            mend=remedies.reranker(exam),
            share=share,
        )
    else:
        yield note(
            "ranking",
            f"{told}{', no better than chance' if share <= _CHANCE else ''}"
            f"{', and every score lies between 0.5 and 0.95' if middling else ''}. Whether the scores mean what they "
            "should cannot be judged: the model is not known here.",
            cause="Untrained weights, or a model whose prompt is missing.",
            mend="Name what it is with --model, or compare with its own checkpoint: --reference FOLDER",
            share=share,
        )


def check_blank(exam: Examination) -> Iterator[Finding]:
    """What becomes of a blank document?"""
    try:
        exam.rerank(RED_PLANET, [RED_PLANET_DOCUMENTS[0], " "])
    except ServerConnectionError:
        raise
    except ServerError:
        yield ok("blank-text", "Blank documents are refused.")
    else:
        yield note(
            "blank-text", "Blank documents get a score.", mend="Leave them out; this package's classes refuse them."
        )


def check_top_n(exam: Examination) -> Iterator[Finding]:
    """Does the server keep to `top_n`?"""
    if exam.kind in {"tei", "mixedbread"}:
        return  # which have another field, or none
    body = exam.rerank_body(RED_PLANET, RED_PLANET_DOCUMENTS) | {"top_n": 2}
    said = exam.ask(exam.rerank_path, body)
    rows = said if isinstance(said, list) else said.get("results") if isinstance(said, dict) else None
    if isinstance(rows, list) and len(rows) == 2:  # noqa: PLR2004 as asked for
        yield ok("top-n", "`top_n` is kept to.")
    else:
        yield note(
            "top-n",
            f"`top_n` 2 gives {len(rows) if isinstance(rows, list) else 'no list of'} documents.",
            cause="SGLang does so before 0.5.8, and sglang-router drops the field.",
            mend="Nothing: this package's classes cut by themselves.",
        )


def _list(values: np.ndarray) -> str:
    return "[" + ", ".join(f"{value:.3f}" for value in values) + "]"
