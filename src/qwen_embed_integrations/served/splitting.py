"""How a batch of texts gets its values from a server that may refuse it: halve, isolate, shorten.

Pure generators: they yield requests and receive replies, and know nothing of threads, loops or sockets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from qwen_embed_integrations import vectors
from qwen_embed_integrations.engine import Batch
from qwen_embed_integrations.errors import BadReplyError, RequestRefusedError, TextTooLongError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qwen_embed_integrations.served.endpoint import Endpoint
    from qwen_embed_integrations.served.flow import Flow
    from qwen_embed_integrations.served.limits import Limits
    from qwen_embed_integrations.vectors import Floats

# A text is halved until it is accepted, then grown back in as many steps: within 1/8 of the longest that fits.
_REGROW_STEPS = 3
# llama.cpp's status for a text that does not fit its physical batch, which may be smaller than the model's context.
_BATCH_IS_FULL = 500
# A text no server has a reason to refuse.
_NEUTRAL = "hello"


@dataclass(frozen=True)
class Item:
    """A text and its position among the texts of the call."""

    position: int
    text: str


def in_batches(texts: Sequence[str], limits: Limits) -> Iterator[list[Item]]:
    """Yield the texts in order, as many at a time as the server takes, which may become less on the way."""
    start = 0
    while start < len(texts):
        batch = texts[start : start + limits.batch_size]
        yield [Item(start + offset, text) for offset, text in enumerate(batch)]
        start += len(batch)


def request_values(items: Sequence[Item], endpoint: Endpoint, limits: Limits) -> Flow[list[Batch]]:
    """Get values for as many of the texts as the server takes.

    Args:
        items: The texts of one batch.
        endpoint: Where they are sent.
        limits: What the server takes. A limit that its refusals show is remembered there.

    Returns:
        Values in parts; a text that is refused for itself is a part with a `failure`.

    Raises:
        ServerError: If the server refuses the request whatever the texts, or fails.
    """
    done: list[Batch] = []
    # More may be known of the server than when these were put together.
    waiting = _parts(list(items), limits.batch_size)
    accepts_some = too_many_texts = too_large_text = False
    largest_accepted = 0
    while waiting:
        part = waiting.pop()
        try:
            reply = yield endpoint.request([item.text for item in part])
        except RequestRefusedError as refusal:
            divisible = len(part) > 1 and (refusal.too_many or refusal.too_long)
            if not (accepts_some or divisible or (yield from _accepts_neutral(endpoint))):
                raise
            accepts_some = accepts_some or not divisible
            if len(part) == 1:
                too_large_text |= refusal.too_many
                done.append((yield from _request_single(part[0], refusal, endpoint, limits)))
                continue
            too_many_texts |= refusal.too_many
            # By length: the texts at fault for it end up together, and the rest goes through in one piece.
            part.sort(key=lambda item: len(item.text))
            stated = refusal.most_texts
            size = stated if stated is not None and 0 < stated < len(part) else (len(part) + 1) // 2
            waiting += _parts(part, size)
        else:
            accepts_some = True
            largest_accepted = max(largest_accepted, len(part))
            done += _checked(part, endpoint.values(reply, len(part)), endpoint)
    # Where one text alone is too much for a request, the number of texts was not at fault.
    if too_many_texts and largest_accepted and not too_large_text:
        limits.lower_max_batch(largest_accepted)
    return done


def _parts(items: list[Item], size: int) -> list[list[Item]]:
    # The first one last, where it is taken from.
    return [items[start : start + size] for start in range(0, len(items), size)][::-1]


def _accepts_neutral(endpoint: Endpoint) -> Flow[bool]:
    # Tells a refusal of some text from a refusal of everything, at the price of one word.
    try:
        yield endpoint.request([_NEUTRAL])
    except RequestRefusedError:
        return False
    return True


def _request_single(item: Item, refusal: RequestRefusedError, endpoint: Endpoint, limits: Limits) -> Flow[Batch]:
    # The text was refused on its own.
    if not _is_too_long(refusal):
        return _refused(item, refusal, endpoint)
    if limits.long_text == "error":
        return _failed(_too_long_error(item, refusal, endpoint, limits))
    values = yield from _shorten(item.text, endpoint)
    if values is None:
        return _refused(item, refusal, endpoint)
    (batch,) = _checked([item], values, endpoint)
    return batch if batch.failure else replace(batch, shortened=(item.position,))


def _shorten(text: str, endpoint: Endpoint) -> Flow[Floats | None]:
    # Only the end of the text goes: the prompt before it and the token the server appends after it stay.
    values: Floats | None = None
    longest_accepted, shortest_refused = 0, len(text)
    steps = _REGROW_STEPS
    while steps and (length := (longest_accepted + shortest_refused) // 2) > longest_accepted:
        steps -= longest_accepted > 0
        try:
            reply = yield endpoint.request([text[:length]])
        except RequestRefusedError as refusal:
            if not _is_too_long(refusal):  # for example only blanks are left
                break
            shortest_refused = length
        else:
            values = endpoint.values(reply, 1)
            longest_accepted = length
    return values


def _is_too_long(refusal: RequestRefusedError) -> bool:
    # Of a single text, "too much" is the same.
    return refusal.too_long or refusal.status == 413  # noqa: PLR2004 an HTTP status


def _checked(items: Sequence[Item], values: Floats, endpoint: Endpoint) -> list[Batch]:
    positions = [item.position for item in items]
    unusable = set(vectors.unusable(values).tolist())
    if not unusable:
        return [Batch(positions, values)]
    usable = [row for row in range(len(items)) if row not in unusable]
    failed = tuple(sorted(positions[row] for row in unusable))
    error = BadReplyError(
        f"The server's reply for `{endpoint.parameter}` at {', '.join(map(str, failed))} holds NaN, infinite or "
        "all-zero values. On a GPU this is usually float16 overflowing: serve the model in bfloat16 or float32.",
        positions=failed,
    )
    kept = [Batch([positions[row] for row in usable], values[usable])] if usable else []
    return [*kept, _failed(error)]


def _too_long_error(item: Item, refusal: RequestRefusedError, endpoint: Endpoint, limits: Limits) -> TextTooLongError:
    limit = "the model reads" if limits.max_tokens is None else f"the {limits.max_tokens} tokens that the model reads"
    if not refusal.too_long or refusal.status == _BATCH_IS_FULL:
        limit = "the server takes"
    return TextTooLongError(
        f"`{endpoint.parameter}` holds a text at position {item.position} that is longer than {limit} "
        f"({refusal}). Split it, or pass long_text='truncate'.",
        parameter=endpoint.parameter,
        positions=(item.position,),
    )


def _refused(item: Item, refusal: RequestRefusedError, endpoint: Endpoint) -> Batch:
    refusal.positions = (item.position,)
    refusal.args = (f"`{endpoint.parameter}` holds a text at position {item.position} that was refused: {refusal}",)
    return _failed(refusal)


def _failed(error: RequestRefusedError | TextTooLongError | BadReplyError) -> Batch:
    return Batch((), np.empty(0, np.float32), failure=error)
