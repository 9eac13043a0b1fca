"""Replies to checked arrays: nothing a server says is taken on trust."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jiter
import numpy as np

from qwen_embed_integrations import vectors
from qwen_embed_integrations.errors import BadReplyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from qwen_embed_integrations.vectors import Float32

_SHOWN = 200
# Marks where a quotation was cut, so that half a secret before it is found and blanked.
CUT = "…"


def parse_json(reply: bytes, url: str) -> Any:
    """Return the JSON of a reply.

    Raises:
        BadReplyError: If it is no JSON, such as a proxy's HTML page.
    """
    try:
        return jiter.from_json(reply, cache_mode="keys")
    except ValueError as error:
        shown = _cut(reply.decode(errors="replace"))
        kind = "HTML" if shown.lstrip().lower().startswith(("<!doctype", "<html")) else "no JSON"
        raise BadReplyError(
            f"{url} answered 200 with {kind}: {shown!r}. Is `base_url` right? It usually ends in /v1.",
            url=url,
            status=200,
            body=shown,
        ) from error


def read_embeddings(reply: Any, count: int, url: str, size: int | None) -> Float32:
    """Return the vectors of an OpenAI-shaped reply.

    Args:
        reply: The parsed reply.
        count: How many texts were sent.
        url: For messages.
        size: What every vector must measure; None takes what comes, so long as it is the same for all.

    Returns:
        Rows in the order of the texts, shape `(count, size)`; not yet checked for NaN.

    Raises:
        BadReplyError: If rows are missing, too many, repeated, unreadable, or of the wrong size.
    """
    rows = reply.get("data") if isinstance(reply, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _bad(f"no `data` list of embeddings but {_outline(reply)}. Is it an embedding server?", url)
    if len(rows) != count:
        raise _bad(f"{len(rows)} embeddings for {count} texts", url)
    ordered = [rows[place] for place in _order([row.get("index") for row in rows], url)]
    try:
        decoded = [vectors.decode(row.get("embedding")) for row in ordered]
    except ValueError as error:
        raise _bad(f"an embedding that is {error}", url) from error
    sizes = sorted({vector.size for vector in decoded})
    if sizes[0] == 0:
        raise _bad("an empty embedding", url)
    expected = sizes[0] if size is None else size
    if sizes != [expected]:
        raise _bad(
            f"vectors of {' and '.join(map(str, sizes))} dimensions where {expected} were expected. Does the server "
            "run the model that `model` names?",
            url,
        )
    return np.stack(decoded)


def read_scores(reply: Any, count: int, url: str) -> npt.NDArray[np.float64]:
    """Return the scores of a rerank reply in any of the known shapes.

    Shapes: a bare list with `score` (SGLang, TEI), `results` with `score` (sglang-router) or `relevance_score`
    (vLLM, Infinity, llama.cpp, Jina, Cohere, DashScope), `data` with `score` (Mixedbread).

    Args:
        reply: The parsed reply.
        count: How many documents were sent.
        url: For messages.

    Returns:
        Scores in the order of the documents, shape `(count,)`; not yet checked for NaN.

    Raises:
        BadReplyError: If documents are missing, repeated or without a score.
    """
    rows = reply.get("results", reply.get("data")) if isinstance(reply, dict) else reply
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _bad(f"no list of scored documents but {_outline(reply)}. Is it a reranker?", url)
    if len(rows) != count:
        raise _bad(f"{len(rows)} scores for {count} documents", url)
    indexes = [row.get("index") for row in rows]
    # Results come best first, so their order says nothing: the indexes must be a permutation.
    if sorted(index for index in indexes if _is_index(index)) != list(range(count)):
        raise _bad(f"scores for documents {indexes} where each of 0 to {count - 1} was expected once", url)
    scores = np.empty(count, np.float64)
    for row in rows:
        score = row.get("relevance_score", row.get("score"))
        if score is not None and (isinstance(score, bool) or not isinstance(score, (int, float))):
            raise _bad(f"a score that is {type(score).__name__}", url)
        try:
            scores[row["index"]] = np.nan if score is None else score
        except OverflowError:  # a whole number of hundreds of digits
            scores[row["index"]] = np.inf
    return scores


def tokens_used(reply: Any) -> int:
    """Return the tokens a reply was charged for, or 0 where it does not say."""
    usage = reply.get("usage") if isinstance(reply, dict) else None
    counted = [usage.get(name) for name in ("total_tokens", "prompt_tokens")] if isinstance(usage, dict) else []
    return next((tokens for tokens in counted if isinstance(tokens, int)), 0)


def _order(indexes: Sequence[Any], url: str) -> list[int]:
    if all(index is None for index in indexes):
        return list(range(len(indexes)))
    if all(map(_is_index, indexes)):
        by_index = sorted(range(len(indexes)), key=lambda place: indexes[place])
        # Some APIs leave gaps; the order is still clear. With a repeated index it is not.
        if len(set(indexes)) == len(indexes):
            return by_index
    raise _bad(f"embeddings with indexes {list(indexes)[:20]}, which do not say whose each one is", url)


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _outline(reply: Any) -> str:
    if isinstance(reply, dict):
        return f"an object with {sorted(reply)[:8]} ({_cut(str(reply))})"
    return f"{type(reply).__name__} {_cut(str(reply))!r}"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + CUT


def _bad(content: str, url: str) -> BadReplyError:
    return BadReplyError(
        f"{url} answered with {content.rstrip('.')}{'' if content.endswith('?') else '.'}", url=url, status=200
    )
