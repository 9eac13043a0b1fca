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

    from qwen_embed_integrations.doctor.server import Examination

_UNCHANGED = 1 - 1e-5
# Published numbers of one model differ by 2.5e-3 between engines; bfloat16 kernels by up to 1e-2.
TOLERANCE = 2e-2
_QUANTIZED_TOLERANCE = 8e-2
_CHANCE = 2 / 6  # right answers that guessing may well find
_GOOD = 4 / 6


def check_instruction(exam: Examination) -> Iterator[Finding]:
    """Does the instruction before a query change its vector?"""
    profile = exam.profile if isinstance(exam.profile, ModelProfile) else None
    profile = profile or exam.presumed_profile
    if profile is None or not profile.takes_instruction:
        yield ok("instruction", f"{exam.name} has no instruction." if profile else "No instruction is known to try.")
        return
    text = samples.QUESTIONS[0]
    one, other = profile.prefix("query"), profile.prefix("query", "Find code that does the opposite")
    rows = exam.embed([text, one + text, other + text]).values
    closest = max(float(cosines(rows[[at]], rows[[to]])[0]) for at, to in ((0, 1), (0, 2), (1, 2)))
    if closest < _UNCHANGED:
        yield ok("instruction", f"Instructions change the vectors of queries (cosine at most {closest:.4f}).")
    else:
        yield wrong(
            "instruction",
            f"A query gets the same vector with and without an instruction (cosine {closest:.6f}).",
            cause="The server or a proxy cuts the beginning of texts, or vectors come from the first token.",
            mend=remedies.embedder(exam),
        )


def check_golden(exam: Examination) -> Iterator[Finding]:
    """Compare with the published numbers of a known model; ask an unknown one to match questions and answers."""
    known = VECTORS.get(exam.profile.name, ()) if isinstance(exam.profile, ModelProfile) else ()
    if not known or not isinstance(exam.profile, ModelProfile):
        yield from _judge_by_answers(exam)
        return
    measured, expected = [], []
    for golden in known:
        queries = [exam.profile.prefix("query") + text for text in golden.queries]
        documents = [exam.profile.prefix("document") + text for text in golden.documents]
        rows = unit(exam.embed(queries + documents).values)
        measured.append((rows[: len(queries)] @ rows[len(queries) :].T).ravel())
        expected.append(np.array(golden.cosines).ravel())
    got, want = np.concatenate(measured), np.concatenate(expected)
    off = float(np.abs(got - want).max())
    numbers = {
        "measured": [round(float(value), 4) for value in got],
        "expected": [round(float(value), 4) for value in want],
        "sources": [golden.source for golden in known],
    }
    shown = f"measured {_list(got)}, published {_list(want)}"
    if off <= TOLERANCE:
        yield ok("golden", f"Cosines are those published for {exam.name}, within {off:.4f}.", **numbers)
    elif is_quantized(exam) and off <= _QUANTIZED_TOLERANCE:
        yield warning(
            "golden",
            f"Cosines are off those published for {exam.name} by up to {off:.3f}: {shown}.",
            cause="The weights are quantized; so much is usual.",
            mend="Compare retrieval with the full weights before relying on it: qwen-embed bench",
            **numbers,
        )
    else:
        yield wrong(
            "golden",
            f"Cosines are not those published for {exam.name}, by up to {off:.3f}: {shown}.",
            cause="See the findings above on the token at the end, pooling and instruction; if those are right, the "
            "server runs other weights, or computes them wrongly.",
            mend=remedies.embedder(exam),
            **numbers,
        )


def is_quantized(exam: Examination) -> bool:
    """Tell whether the weights are a quantized copy, by the server's word or the model's name."""
    names = " ".join(filter(None, (exam.server.model, exam.model, exam.facts.served_name))).lower()
    marks = ("awq", "gptq", "gguf", "int4", "int8", "fp8", "fp4", "4bit", "8bit", "q4_", "q5_", "q6_", "q8_")
    # Ollama and llama.cpp serve GGUF files, quantized as a rule.
    return bool(exam.facts.quantized) or exam.kind in {"ollama", "llama_cpp"} or any(mark in names for mark in marks)


def _judge_by_answers(exam: Examination) -> Iterator[Finding]:
    prefix = exam.profile.prefix("query") if isinstance(exam.profile, ModelProfile) else ""
    rows = unit(exam.embed([*(prefix + text for text in samples.QUESTIONS), *samples.ANSWERS]).values)
    count = len(samples.QUESTIONS)
    best = (rows[:count] @ rows[count:].T).argmax(axis=1)
    share = float((best == np.arange(count)).mean())
    told = f"{round(share * count)} of {count} questions find their answer"
    if share >= _GOOD:
        yield ok("ranking", f"{told}; no published numbers are known for {exam.name}.", share=share)
    elif isinstance(exam.profile, ModelProfile):
        yield wrong(
            "ranking",
            f"{told}, where {exam.name} should find all.",
            cause="The vectors mean nothing: other weights, pooling or tokens than the model's.",
            mend=remedies.embedder(exam),
            share=share,
        )
    else:
        yield note(
            "ranking",
            f"{told}{', no better than chance' if share <= _CHANCE else ''}. Whether the vectors mean what they should "
            "cannot be judged: the model is not known here.",
            cause="Untrained weights, a model for something else, or one that wants a prompt.",
            mend="Name what it is with --model, or compare with its own checkpoint: --reference FOLDER",
            share=share,
        )


def _list(values: np.ndarray) -> str:
    return "[" + ", ".join(f"{value:.3f}" for value in values) + "]"
