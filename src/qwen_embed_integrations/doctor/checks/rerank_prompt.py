"""Is a generative reranker shown the prompt it was trained on? Told from scores, whatever the weights are.

Some servers also score exact prompts, by the probability of label tokens or by their classifier. The prompt that gives
the scores of a rerank request is the one the server uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from qwen_embed_integrations import vectors
from qwen_embed_integrations.doctor import remedies
from qwen_embed_integrations.doctor.data.rerank_wordings import BARE, DOCUMENTS, INSTRUCTION, QUERY, known_wordings
from qwen_embed_integrations.doctor.findings import Finding, note, ok, warning, wrong
from qwen_embed_integrations.doctor.server import END
from qwen_embed_integrations.errors import ServerConnectionError, ServerError
from qwen_embed_integrations.profiles import RerankProfile, profile_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from qwen_embed_integrations.doctor.data.rerank_wordings import Wording
    from qwen_embed_integrations.doctor.server import ExaminedServer

    Scores = npt.NDArray[np.float64]

_CEILING = 15.0  # log-odds; beyond, a score's last digits are noise
_CLOSE, _EQUAL = 0.02, 1e-3


def check_template(server: ExaminedServer) -> Iterator[Finding]:
    """Find the prompt whose score equals that of a rerank request."""
    profile = server.profile if isinstance(server.profile, RerankProfile) else None
    if profile is None and server.is_qwen_tokenizer:
        profile = cast("RerankProfile", profile_for("Qwen/Qwen3-Reranker-0.6B"))
    if profile is None:
        yield note("template", "The reranker is not known here; its prompt, if it has one, was not judged.")
    elif profile.method != "token_logits":
        yield ok("template", f"{profile.name} needs no prompt.")
    else:
        yield from _find_wording(server, profile)


def _find_wording(server: ExaminedServer, profile: RerankProfile) -> Iterator[Finding]:
    reply = server.rerank(QUERY, DOCUMENTS)
    if len(vectors.unusable(reply.values)):
        yield note("template", "Which prompt is in use cannot be told from scores that are not finite.")
        return
    try:
        oracle = _Oracle(server, profile)
        wordings = known_wordings(profile)
        official = wordings[0]
        scores = oracle.scores(official, None)
        # How much one prompt's score moves between a batch and alone: bfloat16 shows here.
        again = np.concatenate([oracle.scores(official, None, [document]) for document in DOCUMENTS])
    except ServerConnectionError:
        raise
    except ServerError:
        yield from _judge_by_counting(server, profile, reply.tokens)
        return
    noise = 4 * _distance(scores, again)
    tolerance = max(_CLOSE, noise)
    distances = [(_distance(oracle.scores(wording, None), reply.values), wording) for wording in wordings]
    distance, nearest = min(distances, key=lambda pair: pair[0])
    if distance > tolerance:
        yield warning(
            "template",
            f"Scores are those of none of the known prompts (nearest: {nearest.name}, {distance:.2f} in log-odds).",
            cause="A chat template of another wording is loaded.",
            mend=remedies.start_reranker(server),
            distances={wording.name: round(apart, 4) for apart, wording in distances},
        )
        return
    # Another prompt is accused where it alone fits: with weights that tell prompts hardly apart, all are close.
    apart = distances[0][0]
    if apart <= tolerance and (apart <= max(_EQUAL, noise) or distance > apart / 10):
        nearest, distance = official, apart
    if nearest is official:
        yield ok("template", f"Scores are those of {profile.name}'s own prompt (within {distance:.4f} in log-odds).")
    else:
        severity = {"wrong": wrong, "warning": warning, "note": note}[nearest.severity]
        yield severity(
            "template",
            f"Scores are those of {nearest.name}, not of {profile.name}'s own prompt ({apart:.2f} apart in log-odds).",
            cause=_cause(server, nearest),
            mend=remedies.start_reranker(server),
            measured=[round(float(score), 6) for score in reply.values],
            official=[round(float(score), 6) for score in scores],
        )
    if nearest.name != BARE:
        yield from _check_instruction(server, oracle, nearest, tolerance)


def _check_instruction(
    server: ExaminedServer, oracle: _Oracle, wording: Wording, tolerance: float
) -> Iterator[Finding]:
    scores = server.rerank(QUERY, DOCUMENTS, INSTRUCTION).values
    if _distance(scores, oracle.scores(wording, INSTRUCTION)) <= tolerance:
        yield ok("instruction", "An instruction reaches the prompt.")
        return
    if _distance(scores, oracle.scores(wording, None)) > tolerance:
        yield warning(
            "instruction",
            "An instruction changes the scores, but not as it should.",
            cause="The template puts it elsewhere, or words it otherwise.",
            mend=remedies.start_reranker(server),
        )
        return
    yield warning(
        "instruction",
        "An instruction sent with a request changes nothing: the default one is used.",
        cause=server.dialect.causes.instruction_ignored,
        mend=remedies.start_reranker(server),
    )


class _Oracle:
    """Scores exact prompts with the server's own model.

    Raises:
        ServerError: If the server has no such route.
    """

    def __init__(self, server: ExaminedServer, profile: RerankProfile) -> None:
        route = server.dialect.examination.score_prompts
        if route is None:
            raise ServerError("The server does not score prompts in a known form.")
        self._server = server
        self._route = route
        self._labels: list[int] = []
        for label in (profile.true_token, profile.false_token) if route.wants_labels else ():
            tokens = server.tokens_of(label, special=False)
            if tokens is None or len(tokens) != 1:
                raise ServerError(f"{label!r} is no single token here.")
            self._labels += tokens

    def scores(self, wording: Wording, instruction: str | None, documents: Sequence[str] = DOCUMENTS) -> Scores:
        """Return the scores that a prompt gives the documents."""
        prompts = [self._tokens(wording.prompt(document, instruction), wording) for document in documents]
        path = self._route.path(self._server.connection.base_url)
        probabilities: list[Any] = []
        for body in self._route.bodies(self._server.model, prompts, self._labels):
            probabilities += self._route.read(self._server.ask(path, body))
        numbers = all(isinstance(probability, (int, float)) for probability in probabilities)
        if len(probabilities) != len(prompts) or not numbers:
            raise ServerError("The server does not score prompts in a known form.")
        return np.array(probabilities, np.float64)

    def _tokens(self, prompt: str, wording: Wording) -> list[int]:
        tokens = self._server.tokens_of(prompt, special=False)
        end = self._server.tokens_of(END, special=False) if wording.ends else []
        if not tokens or end is None:
            raise ServerError("The server does not tell its tokens.")
        return tokens + end


def _cause(server: ExaminedServer, wording: Wording) -> str:
    if wording.name == BARE:
        return (
            "No chat template is loaded. Such scores look plausible (0.5 to 0.9 for nearly everything) and rank badly."
        )
    if wording.ends:
        return "The tokenizer appends an end token, as an embedding model's does: the score is read after it."
    if wording.severity == "note":
        return server.dialect.causes.template_nearly_right
    return "A chat template of that wording is loaded. Scores move, and thresholds with them."


def _judge_by_counting(server: ExaminedServer, profile: RerankProfile, charged: int) -> Iterator[Finding]:
    """Where the server scores no prompts: has it read as many tokens as the prompt has?"""
    full = [server.tokens_of(profile.lead(QUERY) + document + profile.tail, special=False) for document in DOCUMENTS]
    bare = [server.tokens_of(QUERY + document) for document in DOCUMENTS]
    if not charged or None in full or None in bare:
        yield note("template", "Whether the model is shown its own prompt cannot be told: the server does not say.")
        return
    with_prompt, without = (sum(len(tokens or ()) for tokens in texts) for texts in (full, bare))
    if charged == with_prompt:
        yield ok("template", f"As many tokens are read as the prompt has ({with_prompt}).")
    elif charged <= without + 4 * len(DOCUMENTS):
        yield wrong(
            "template",
            f"{charged} tokens are read for {len(DOCUMENTS)} documents; with the prompt it would be {with_prompt}.",
            cause="No chat template is loaded.",
            mend=remedies.start_reranker(server),
        )
    else:
        yield warning(
            "template",
            f"{charged} tokens are read for {len(DOCUMENTS)} documents; with {profile.name}'s own prompt it would be "
            f"{with_prompt}.",
            cause="A chat template of another wording is loaded.",
            mend=remedies.start_reranker(server),
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
