"""Is a generative reranker shown the prompt it was trained on? Told from scores, whatever the weights are.

A server also scores exact prompts: SGLang by the probability of label tokens (`/v1/score`), vLLM by its classifier
(`/classify`). The prompt that gives the scores of `/v1/rerank` is the one the server uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from qwen_embed_integrations import vectors
from qwen_embed_integrations.doctor import remedies
from qwen_embed_integrations.doctor.findings import Finding, note, ok, warning, wrong
from qwen_embed_integrations.doctor.server import END
from qwen_embed_integrations.errors import ServerConnectionError, ServerError
from qwen_embed_integrations.profiles import RerankProfile, profile_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from qwen_embed_integrations.doctor.server import Examination

    Scores = npt.NDArray[np.float64]

QUERY = "Which animal breathes air?"
DOCUMENTS = ("Whales breathe air.", "The invoice is due on the first of next month.", "yes")
INSTRUCTION = "Find invoices"

_CEILING = 15.0  # log-odds; beyond, a score's last digits are noise
_CLOSE, _EQUAL = 0.02, 1e-3
_THINK = "<think>\n\n</think>\n\n"
_OTHER_DEFAULT = "Given the user query, retrieval the relevant passages"


@dataclass(frozen=True)
class _Wording:
    """A prompt that servers are known to use.

    Attributes:
        name: For messages.
        severity: How bad it is.
        prompt: Makes it from a document and an instruction; None for the default one.
        ends: Whether the tokenizer's end token follows.
    """

    name: str
    severity: str
    prompt: Callable[[str, str | None], str]
    ends: bool = False


def check_template(exam: Examination) -> Iterator[Finding]:
    """Find the prompt whose score equals that of a rerank request."""
    profile = exam.profile if isinstance(exam.profile, RerankProfile) else None
    if profile is None and exam.is_qwen_tokenizer:
        profile = cast("RerankProfile", profile_for("Qwen/Qwen3-Reranker-0.6B"))
    if profile is None:
        yield note("template", "The reranker is not known here; its prompt, if it has one, was not judged.")
    elif profile.method != "token_logits":
        yield ok("template", f"{profile.name} needs no prompt.")
    else:
        yield from _find_wording(exam, profile)


def _find_wording(exam: Examination, profile: RerankProfile) -> Iterator[Finding]:
    reply = exam.rerank(QUERY, DOCUMENTS)
    if len(vectors.unusable(reply.values)):
        yield note("template", "Which prompt is in use cannot be told from scores that are not finite.")
        return
    try:
        oracle = _Oracle(exam, profile)
        wordings = _wordings(profile)
        official = wordings[0]
        scores = oracle.scores(official, None)
        # How much one prompt's score moves between a batch and alone: bfloat16 shows here.
        again = np.concatenate([oracle.scores(official, None, [document]) for document in DOCUMENTS])
    except ServerConnectionError:
        raise
    except ServerError:
        yield from _judge_by_counting(exam, profile, reply.tokens)
        return
    noise = 4 * _distance(scores, again)
    tolerance = max(_CLOSE, noise)
    found = [(_distance(oracle.scores(each, None), reply.values), each) for each in wordings]
    distance, nearest = min(found, key=lambda pair: pair[0])
    if distance > tolerance:
        yield warning(
            "template",
            f"Scores are those of none of the known prompts (nearest: {nearest.name}, {distance:.2f} in log-odds).",
            cause="A chat template of another wording is loaded.",
            mend=remedies.reranker(exam),
            distances={each.name: round(apart, 4) for apart, each in found},
        )
        return
    # Another prompt is accused where it alone fits: with weights that tell prompts hardly apart, all are close.
    apart = found[0][0]
    if apart <= tolerance and (apart <= max(_EQUAL, noise) or distance > apart / 10):
        nearest, distance = official, apart
    if nearest is official:
        yield ok("template", f"Scores are those of {profile.name}'s own prompt (within {distance:.4f} in log-odds).")
    else:
        severity = {"wrong": wrong, "warning": warning, "note": note}[nearest.severity]
        yield severity(
            "template",
            f"Scores are those of {nearest.name}, not of {profile.name}'s own prompt ({apart:.2f} apart in log-odds).",
            cause=_cause(exam, nearest),
            mend=remedies.reranker(exam),
            measured=[round(float(score), 6) for score in reply.values],
            official=[round(float(score), 6) for score in scores],
        )
    if nearest.name != _MISSING:
        yield from _check_instruction(exam, oracle, nearest, tolerance)


def _check_instruction(exam: Examination, oracle: _Oracle, wording: _Wording, tolerance: float) -> Iterator[Finding]:
    got = exam.rerank(QUERY, DOCUMENTS, INSTRUCTION).values
    wanted = oracle.scores(wording, INSTRUCTION)
    if _distance(got, wanted) <= tolerance:
        yield ok("instruction", "An instruction reaches the prompt.")
        return
    default = oracle.scores(wording, None)
    if _distance(got, default) > tolerance:
        yield warning(
            "instruction",
            "An instruction changes the scores, but not as it should.",
            cause="The template puts it elsewhere, or words it otherwise.",
            mend=remedies.reranker(exam),
        )
        return
    yield warning(
        "instruction",
        "An instruction sent with a request changes nothing: the default one is used.",
        cause={
            "sglang": "The template has no {{ instruct }}, SGLang is older than 0.5.8, or sglang-router is in between, "
            "which drops the field.",
            "vllm": "The template has no {{ instruction }}, or vLLM is older than the field.",
        }.get(exam.kind, "The server does not know the field."),
        mend=remedies.reranker(exam),
    )


class _Oracle:
    """Scores exact prompts with the server's own model.

    Raises:
        ServerError: If the server has no such route.
    """

    def __init__(self, exam: Examination, profile: RerankProfile) -> None:
        self._exam = exam
        self._labels: list[int] = []
        if exam.kind == "sglang":
            for label in (profile.true_token, profile.false_token):
                tokens = exam.tokens_of(label, special=False)
                if tokens is None or len(tokens) != 1:
                    raise ServerError(f"{label!r} is no single token here.")
                self._labels += tokens

    def scores(self, wording: _Wording, instruction: str | None, documents: Sequence[str] = DOCUMENTS) -> Scores:
        prompts = [self._tokens(wording.prompt(document, instruction), wording) for document in documents]
        if self._exam.kind == "sglang":
            # One query for all: its first token, which every prompt shares.
            first = prompts[0][:1]
            if any(prompt[:1] != first for prompt in prompts):
                return np.concatenate([self._ask_sglang(prompt[:1], [prompt[1:]]) for prompt in prompts])
            return self._ask_sglang(first, [prompt[1:] for prompt in prompts])
        return self._ask_vllm(prompts)

    def _tokens(self, prompt: str, wording: _Wording) -> list[int]:
        tokens = self._exam.tokens_of(prompt, special=False)
        end = self._exam.tokens_of(END, special=False) if wording.ends else []
        if not tokens or end is None:
            raise ServerError("The server does not tell its tokens.")
        return tokens + end

    def _ask_sglang(self, query: list[int], items: list[list[int]]) -> Scores:
        body = {
            "model": self._exam.model,
            "query": query,
            "items": items,
            "label_token_ids": self._labels,
            "apply_softmax": True,
        }
        said = self._exam.ask("score", body)
        rows = said.get("scores") if isinstance(said, dict) else None
        return _numbers([row[0] if isinstance(row, list) and row else None for row in rows or []], len(items))

    def _ask_vllm(self, prompts: list[list[int]]) -> Scores:
        said = self._exam.ask(f"{self._exam.root_url}/classify", {"model": self._exam.model, "input": prompts})
        rows = said.get("data") if isinstance(said, dict) else None
        probabilities = [row.get("probs") if isinstance(row, dict) else None for row in rows or []]
        return _numbers([each[-1] if isinstance(each, list) and each else None for each in probabilities], len(prompts))


def _numbers(values: list[Any], count: int) -> Scores:
    if len(values) != count or not all(isinstance(value, (int, float)) for value in values):
        raise ServerError("The server does not score prompts in a known form.")
    return np.array(values, np.float64)


_MISSING = "the bare query and document"


def _wordings(profile: RerankProfile) -> list[_Wording]:
    """Return the prompts in use, the model's own first."""

    def own(document: str, instruction: str | None) -> str:
        return profile.lead(QUERY, instruction) + document + profile.tail

    def bare(document: str, _: str | None) -> str:
        return QUERY + document

    def changed(change: Callable[[str], str]) -> Callable[[str, str | None], str]:
        return lambda document, instruction: change(own(document, instruction))

    def with_full_stop(document: str, instruction: str | None) -> str:
        given = instruction if instruction is not None else f"{profile.default_instruction}."
        return own(document, given).removesuffix(_THINK)

    found = [
        _Wording("its own prompt", "ok", own),
        _Wording(_MISSING, "wrong", bare),
        _Wording(_MISSING, "wrong", bare, ends=True),
        _Wording("its own prompt with an end token after it", "wrong", own, ends=True),
    ]
    if profile.suffix.endswith(_THINK):
        found += [
            _Wording(
                "the template that ships with SGLang (no think block, a full stop more)", "warning", with_full_stop
            ),
            _Wording("its prompt without the think block", "warning", changed(lambda text: text.removesuffix(_THINK))),
            _Wording("its prompt one newline short (vLLM's example template)", "note", changed(lambda text: text[:-1])),
            _Wording("its prompt two newlines short", "note", changed(lambda text: text[:-2])),
            _Wording(
                "its prompt with blank lines between the fields (the README's vLLM example)",
                "note",
                changed(
                    lambda text: text.replace("\n<Query>", "\n\n<Query>").replace("\n<Document>", "\n\n<Document>")
                ),
            ),
            _Wording(
                "its prompt with the default instruction of the repository's examples",
                "note",
                lambda document, instruction: own(document, _OTHER_DEFAULT if instruction is None else instruction),
            ),
        ]
    return found


def _cause(exam: Examination, wording: _Wording) -> str:
    if wording.name == _MISSING:
        return (
            "No chat template is loaded. Such scores look plausible (0.5 to 0.9 for nearly everything) and rank badly."
        )
    if wording.ends:
        return "The tokenizer appends an end token, as an embedding model's does: the score is read after it."
    if exam.kind == "vllm" and wording.severity == "note":
        return "Jinja drops the last newline of a template file. Scores move a little."
    return "A chat template of that wording is loaded. Scores move, and thresholds with them."


def _judge_by_counting(exam: Examination, profile: RerankProfile, charged: int) -> Iterator[Finding]:
    """Where the server scores no prompts: has it read as many tokens as the prompt has?"""
    full = [exam.tokens_of(profile.lead(QUERY) + document + profile.tail, special=False) for document in DOCUMENTS]
    bare = [exam.tokens_of(QUERY + document) for document in DOCUMENTS]
    if not charged or None in full or None in bare:
        yield note("template", "Whether the model is shown its own prompt cannot be told: the server does not say.")
        return
    wanted, least = (sum(len(tokens or ()) for tokens in each) for each in (full, bare))
    if charged == wanted:
        yield ok("template", f"As many tokens are read as the prompt has ({wanted}).")
    elif charged <= least + 4 * len(DOCUMENTS):
        yield wrong(
            "template",
            f"{charged} tokens are read for {len(DOCUMENTS)} documents; with the prompt it would be {wanted}.",
            cause="No chat template is loaded.",
            mend=remedies.reranker(exam),
        )
    else:
        yield warning(
            "template",
            f"{charged} tokens are read for {len(DOCUMENTS)} documents; with {profile.name}'s own prompt it would be "
            f"{wanted}.",
            cause="A chat template of another wording is loaded.",
            mend=remedies.reranker(exam),
        )


def _distance(left: Scores, right: Scores) -> float:
    return float(np.abs(_log_odds(left) - _log_odds(right)).max())


def _log_odds(scores: Scores) -> Scores:
    if ((scores < 0) | (scores > 1)).any():  # what a server without the sigmoid answers
        return np.clip(scores, -_CEILING, _CEILING)
    tiny = np.exp(-_CEILING)
    kept = np.clip(scores, tiny, 1 - tiny)
    odds: Scores = np.log(kept) - np.log1p(-kept)
    return odds
