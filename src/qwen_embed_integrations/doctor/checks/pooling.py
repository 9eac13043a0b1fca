"""Which token does a vector come from? Told by arithmetic that holds whatever the weights are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from qwen_embed_integrations.doctor import remedies
from qwen_embed_integrations.doctor.data import samples
from qwen_embed_integrations.doctor.findings import Finding, note, ok, warning, wrong
from qwen_embed_integrations.doctor.server import cosines
from qwen_embed_integrations.errors import RequestRefusedError
from qwen_embed_integrations.profiles import ModelProfile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from qwen_embed_integrations.doctor.server import ExaminedServer
    from qwen_embed_integrations.profiles import Pooling

_LONG = 200  # repetitions
_FEWEST = 4  # too few to tell shrinking from noise
_ROOM = 8  # tokens left free below the context
_PAIRS = 5
_NOT_REPEATABLE = 1e-2  # farther apart, repeating a token changes its state: no causal model with rotary positions
_ROUNDING = 1e-6
_NEAR = 1e-3
# Over 240 random models of 1 to 6 layers, float32 and bfloat16: 0.41 and less for means, 6.7 and more for the last
# token; and 0.84 and more against 0.82 and less.
_AS_A_MEAN = 2.0
_SHRINKS_AS_A_MEAN = 0.9
_NAMES: dict[Pooling, str] = {"last": "the last token", "mean": "the mean of all tokens", "cls": "the first token"}
_REPORTED: dict[str, Pooling] = {"last": "last", "last_token": "last", "mean": "mean", "cls": "cls", "first": "cls"}


def check_pooling(server: ExaminedServer) -> Iterator[Finding]:
    """Compare how vectors are pooled with how the model wants it."""
    wanted: Pooling | None = server.profile.pooling if isinstance(server.profile, ModelProfile) else None
    by_trial = find_by_trial(server) if server.is_causal is not False else None
    pooling = by_trial or _REPORTED.get((server.info.pooling or "").lower())
    if pooling is None:
        yield note("pooling", "How vectors are pooled could not be told by trial, and the server does not say.")
        return
    how = "by trial" if by_trial else "as the server says"
    expected: Pooling | None = wanted or ("last" if server.is_qwen_embedding else None)
    if expected is None:
        yield ok(
            "pooling", f"Vectors are {_NAMES[pooling]} ({how}); what this model wants is not known.", pooling=pooling
        )
    elif pooling == expected:
        yield ok("pooling", f"Vectors are pooled from {_NAMES[pooling]} ({how}).", pooling=pooling)
    else:
        # An unknown model may have been trained so, but not one whose tokenizer appends a token to pool from.
        certain = wanted is not None or server.appends_end
        yield (wrong if certain else warning)(
            "pooling",
            f"Vectors are pooled from {_NAMES[pooling]} ({how}); {server.name} wants {_NAMES[expected]}.",
            cause="A pooling was set on the command line, or the server took a default for want of "
            "1_Pooling/config.json in the model's folder.",
            mend=remedies.start_embedder(server, expected),
            pooling=pooling,
            expected=expected,
        )


def find_by_trial(server: ExaminedServer) -> Pooling | None:
    """Find out by trial how a causal model's vectors are pooled; None where that cannot be told.

    Where all tokens are the same, attention averages equal values: every position has the same state, whatever the
    weights and however many there are. So after `b` repeated n times, one other token `a` moves

    - a mean by about 1/n of what it moves the last token: towards nothing as n grows,
    - the first token not at all, nor is that moved by what comes after it.

    Token ids are taken from the server's own tokenizer: one outside the vocabulary ends SGLang.
    """
    pairs = _token_pairs(server)
    long = min(_LONG, (server.context or _LONG + _ROOM) - _ROOM)
    short = long // 8
    if not pairs or short < _FEWEST:
        return None
    try:
        rows = _try(server, pairs, short, long)
    except RequestRefusedError:  # TEI and Ollama read no token ids
        return None
    return None if rows is None or not np.isfinite(rows).all() else _judge(rows, short, long)


def _try(
    server: ExaminedServer, pairs: Sequence[tuple[int, int]], short: int, long: int
) -> npt.NDArray[np.float64] | None:
    trials = []
    for a, b in pairs:
        inputs = [[a], [b], [b] * long, [b] * short + [a], [b] * long + [a], [a] + [b] * long]
        reply = server.embed(inputs)
        if reply.tokens not in {0, sum(map(len, inputs))}:
            return None  # something was added, and the arithmetic does not hold
        trials.append(reply.values)
    return np.stack(trials)


def _judge(rows: npt.NDArray[np.float64], short: int, long: int) -> Pooling | None:
    """Tell the pooling from vectors of shape `(pairs, 6, size)`."""
    one_a, one_b, many_b, short_a, long_a, first_a = rows.transpose(1, 0, 2)
    noise = max(_ROUNDING, float((1 - cosines(many_b, one_b)).max()))
    if noise > _NOT_REPEATABLE or _middle(1 - cosines(one_a, one_b)) <= 4 * noise:
        return None
    if (1 - cosines(first_a, one_a)).max() <= 4 * noise:
        return "cls"
    near, far = _middle(1 - cosines(long_a, one_b)), _middle(1 - cosines(short_a, one_b))
    if near <= 4 * noise:
        return "mean" if near < _NEAR else None
    # How far a mean moves, in units of what it would by its length alone; states have about equal lengths.
    moved = near * long**2
    # The angle's exponent in n: 1 and more for a mean, less for the last token. Cosines go with its square.
    shrinking = math.log(far / near) / (2 * math.log(long / short))
    if moved < _AS_A_MEAN:
        return "mean"
    if shrinking >= _SHRINKS_AS_A_MEAN:
        return "mean" if moved < 100 * _AS_A_MEAN else None
    return "last"


def _middle(distances: npt.NDArray[np.float64]) -> float:
    # The geometric mean: pairs differ by orders of magnitude.
    return float(np.exp(np.log(np.maximum(distances, 1e-12)).mean()))


def _token_pairs(server: ExaminedServer) -> Sequence[tuple[int, int]]:
    known = server.tokens_of(" ".join(samples.ANSWERS), special=False) or []
    tokens = list(dict.fromkeys(known))
    step = max(1, len(tokens) // (2 * _PAIRS))
    chosen = tokens[::step][: 2 * _PAIRS]
    return list(zip(chosen[::2], chosen[1::2], strict=False))
