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


def parse_json(reply: bytes, url: str) -> Any:
    """Return what a reply says.

    Raises:
        BadReplyError: If it is no JSON, such as a proxy's HTML page.
    """
    try:
        return jiter.from_json(reply, cache_mode="keys")
    except ValueError as error:
        shown = reply[:_SHOWN].decode(errors="replace")
        kind = "HTML" if shown.lstrip().lower().startswith(("<!doctype", "<html")) else "no JSON"
        raise BadReplyError(
            f"{url} answered 200 with {kind}: {shown!r}. Is `base_url` right? It usually ends in /v1.",
            url=url,
            status=200,
            body=shown,
        ) from error


def read_embeddings(said: Any, count: int, url: str, size: int | None) -> Float32:
    """Return the vectors of an OpenAI-shaped reply.

    Args:
        said: The parsed reply.
        count: How many texts were sent.
        url: For messages.
        size: What every vector must measure; None takes what comes, so long as it is the same for all.

    Returns:
        Rows in the order of the texts, shape `(count, size)`; not yet checked for NaN.

    Raises:
        BadReplyError: If rows are missing, too many, repeated, unreadable, or of the wrong size.
    """
    rows = said.get("data") if isinstance(said, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _bad(f"no `data` list of embeddings but {_outline(said)}. Is it an embedding server?", url)
    if len(rows) != count:
        raise _bad(f"{len(rows)} embeddings for {count} texts", url)
    ordered = [rows[at] for at in _order([row.get("index") for row in rows], url)]
    try:
        found = [vectors.decode(row.get("embedding")) for row in ordered]
    except ValueError as error:
        raise _bad(f"an embedding that is {error}", url) from error
    sizes = sorted({vector.size for vector in found})
    if sizes[0] == 0:
        raise _bad("an empty embedding", url)
    wanted = [size] if size is not None else sizes[:1]
    if sizes != wanted:
        raise _bad(
            f"vectors of {' and '.join(map(str, sizes))} dimensions where {wanted[0]} were expected. Does the server "
            "run the model that `model` names?",
            url,
        )
    return np.stack(found)


def read_scores(said: Any, count: int, url: str) -> npt.NDArray[np.float64]:
    """Return the scores of a rerank reply in any of the known shapes.

    Shapes: a bare list with `score` (SGLang, TEI), `results` with `score` (sglang-router) or `relevance_score`
    (vLLM, Infinity, llama.cpp, Jina, Cohere, DashScope), `data` with `score` (Mixedbread).

    Args:
        said: The parsed reply.
        count: How many documents were sent.
        url: For messages.

    Returns:
        Scores in the order of the documents, shape `(count,)`; not yet checked for NaN.

    Raises:
        BadReplyError: If documents are missing, repeated or without a score.
    """
    rows = said.get("results", said.get("data")) if isinstance(said, dict) else said
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _bad(f"no list of scored documents but {_outline(said)}. Is it a reranker?", url)
    if len(rows) != count:
        raise _bad(f"{len(rows)} scores for {count} documents", url)
    indexes = [row.get("index") for row in rows]
    # Results come best first, so position says nothing here: only a permutation will do.
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


def tokens_used(said: Any) -> int:
    """Return the tokens a reply was charged for, or 0 where it does not say."""
    usage = said.get("usage") if isinstance(said, dict) else None
    counted = [usage.get(name) for name in ("total_tokens", "prompt_tokens")] if isinstance(usage, dict) else []
    return next((tokens for tokens in counted if isinstance(tokens, int)), 0)


def _order(indexes: Sequence[Any], url: str) -> list[int]:
    if all(index is None for index in indexes):
        return list(range(len(indexes)))
    if all(map(_is_index, indexes)):
        by_index = sorted(range(len(indexes)), key=lambda at: indexes[at])
        # Some APIs leave gaps; their order still tells. A repeated index tells nothing.
        if len(set(indexes)) == len(indexes):
            return by_index
    raise _bad(f"embeddings with indexes {list(indexes)[:20]}, which do not say whose each one is", url)


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _outline(said: Any) -> str:
    if isinstance(said, dict):
        return f"an object with {sorted(said)[:8]} ({str(said)[:_SHOWN]})"
    return f"{type(said).__name__} {str(said)[:_SHOWN]!r}"


def _bad(found: str, url: str) -> BadReplyError:
    return BadReplyError(
        f"{url} answered with {found.rstrip('.')}{'' if found.endswith('?') else '.'}", url=url, status=200
    )
