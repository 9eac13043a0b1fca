"""Do vectors mean what the model's authors published? Instruction, golden numbers, questions and their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qwen_embed_integrations.doctor import remedies
from qwen_embed_integrations.doctor.data import samples
from qwen_embed_integrations.doctor.data.golden import VECTORS
from qwen_embed_integrations.doctor.findings import Finding, note, ok, warning, wrong
from qwen_embed_integrations.doctor.server import cosines, unit
from qwen_embed_integrations.profiles import ModelProfile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_embed_integrations.doctor.server import ExaminedServer

_UNCHANGED = 1 - 1e-5
# Published numbers of one model differ by 2.5e-3 between engines; bfloat16 kernels by up to 1e-2.
TOLERANCE = 2e-2
_QUANTIZED_TOLERANCE = 8e-2
_CHANCE = 2 / 6  # right answers that guessing may well find
_GOOD = 4 / 6


def check_instruction(server: ExaminedServer) -> Iterator[Finding]:
    """Does the instruction before a query change its vector?"""
    profile = server.profile if isinstance(server.profile, ModelProfile) else None
    profile = profile or server.presumed_profile
    if profile is None or not profile.takes_instruction:
        yield ok("instruction", f"{server.name} has no instruction." if profile else "No instruction is known to try.")
        return
    text = samples.QUESTIONS[0]
    default, other = profile.prefix("query"), profile.prefix("query", "Find code that does the opposite")
    bare, with_default, with_other = np.split(server.embed([text, default + text, other + text]).values, 3)
    pairs = ((bare, with_default), (bare, with_other), (with_default, with_other))
    closest = max(float(cosines(left, right)[0]) for left, right in pairs)
    if closest < _UNCHANGED:
        yield ok("instruction", f"Instructions change the vectors of queries (cosine at most {closest:.4f}).")
    else:
        yield wrong(
            "instruction",
            f"A query gets the same vector with and without an instruction (cosine {closest:.6f}).",
            cause="The server or a proxy cuts the beginning of texts, or vectors come from the first token.",
            mend=remedies.start_embedder(server),
        )


def check_golden(server: ExaminedServer) -> Iterator[Finding]:
    """Compare with the published numbers of a known model; ask an unknown one to match questions and answers."""
    known = VECTORS.get(server.profile.name, ()) if isinstance(server.profile, ModelProfile) else ()
    if not known or not isinstance(server.profile, ModelProfile):
        yield from _judge_by_answers(server)
        return
    measured_cosines, published_cosines = [], []
    for golden in known:
        queries = [server.profile.prefix("query") + text for text in golden.queries]
        documents = [server.profile.prefix("document") + text for text in golden.documents]
        rows = unit(server.embed(queries + documents).values)
        measured_cosines.append((rows[: len(queries)] @ rows[len(queries) :].T).ravel())
        published_cosines.append(np.array(golden.cosines).ravel())
    measured, published = np.concatenate(measured_cosines), np.concatenate(published_cosines)
    off = float(np.abs(measured - published).max())
    numbers = {
        "measured": [round(float(value), 4) for value in measured],
        "expected": [round(float(value), 4) for value in published],
        "sources": [golden.source for golden in known],
    }
    both = f"measured {as_list(measured)}, published {as_list(published)}"
    if off <= TOLERANCE:
        yield ok("golden", f"Cosines are those published for {server.name}, within {off:.4f}.", **numbers)
    elif server.is_quantized and off <= _QUANTIZED_TOLERANCE:
        yield warning(
            "golden",
            f"Cosines are off those published for {server.name} by up to {off:.3f}: {both}.",
            cause="The weights are quantized; so much is usual.",
            mend="Compare retrieval with the full weights before relying on it: qwen-embed bench",
            **numbers,
        )
    else:
        yield wrong(
            "golden",
            f"Cosines are not those published for {server.name}, by up to {off:.3f}: {both}.",
            cause="See the findings above on the token at the end, pooling and instruction; if those are right, the "
            "server runs other weights, or computes them wrongly.",
            mend=remedies.start_embedder(server),
            **numbers,
        )


def _judge_by_answers(server: ExaminedServer) -> Iterator[Finding]:
    prefix = server.profile.prefix("query") if isinstance(server.profile, ModelProfile) else ""
    rows = unit(server.embed([*(prefix + text for text in samples.QUESTIONS), *samples.ANSWERS]).values)
    count = len(samples.QUESTIONS)
    best = (rows[:count] @ rows[count:].T).argmax(axis=1)
    share = float((best == np.arange(count)).mean())
    answered = f"{round(share * count)} of {count} questions find their answer"
    if share >= _GOOD:
        yield ok("ranking", f"{answered}; no published numbers are known for {server.name}.", share=share)
    elif isinstance(server.profile, ModelProfile):
        yield wrong(
            "ranking",
            f"{answered}, where {server.name} should find all.",
            cause="The vectors mean nothing: other weights, pooling or tokens than the model's.",
            mend=remedies.start_embedder(server),
            share=share,
        )
    else:
        yield note(
            "ranking",
            f"{answered}{', no better than chance' if share <= _CHANCE else ''}. Whether the vectors mean what they "
            "should cannot be judged: the model is not known here.",
            cause="Untrained weights, a model for something else, or one that wants a prompt.",
            mend="Name what it is with --model, or compare with its own checkpoint: --reference FOLDER",
            share=share,
        )


def as_list(values: np.ndarray) -> str:
    """Write numbers with as many digits as matter here."""
    return "[" + ", ".join(f"{value:.3f}" for value in values) + "]"
