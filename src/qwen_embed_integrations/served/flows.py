"""How a batch of texts is settled with a server that may refuse it: halve, isolate, shorten.

Pure generators: they yield requests and receive replies, and know nothing of threads, loops or sockets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from qwen_embed_integrations import vectors
from qwen_embed_integrations.engine import Batch
from qwen_embed_integrations.errors import BadReplyError, RequestRefusedError, TextTooLongError
from qwen_embed_integrations.served.failures import is_too_long, is_too_many

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from qwen_embed_integrations.embedder import LongText
    from qwen_embed_integrations.served.connection import Flow, Request
    from qwen_embed_integrations.vectors import Float32

# A text is halved until it is accepted, then grown back in as many steps: within 1/8 of the longest that fits.
_REGROW_STEPS = 3
_CANARIES = 2


@dataclass(frozen=True)
class Item:
    """A text and where it belongs."""

    position: int
    text: str


@dataclass(frozen=True)
class Talk:
    """How to ask for a list of texts, and how to read the answer.

    Attributes:
        ask: Makes the request.
        read: Checks the reply to so many texts and returns their values, in order.
        long_text: What to do with a text the server finds too long.
        parameter: What the texts are called, for messages.
    """

    ask: Callable[[Sequence[str]], Request]
    read: Callable[[bytes, int], Float32]
    long_text: LongText
    parameter: str


def in_batches(texts: Sequence[str], size: int) -> Iterator[list[Item]]:
    """Yield the texts in order, `size` at a time."""
    for start in range(0, len(texts), size):
        yield [Item(start + offset, text) for offset, text in enumerate(texts[start : start + size])]


def settle(items: Sequence[Item], talk: Talk) -> Flow[list[Batch]]:
    """Get values for as many of the texts as the server takes.

    Args:
        items: The texts of one request.
        talk: How to ask and read.

    Returns:
        Values in parts; a text that is refused for itself is a part with a `failure`.

    Raises:
        ServerError: If the server refuses the request whatever the texts, or fails.
    """
    try:
        reply = yield talk.ask([item.text for item in items])
    except RequestRefusedError as refusal:
        if len(items) == 1:
            return [(yield from _settle_one(items[0], refusal, talk))]
        if not (is_too_many(refusal) or is_too_long(refusal) or (yield from _takes_any(items, talk))):
            raise
        # By length: the texts at fault for it end up together, and the rest goes through in one piece.
        ordered = sorted(items, key=lambda item: len(item.text))
        middle = len(ordered) // 2
        return (yield from settle(ordered[:middle], talk)) + (yield from settle(ordered[middle:], talk))
    return _checked(items, talk.read(reply, len(items)), talk)


def _takes_any(items: Sequence[Item], talk: Talk) -> Flow[bool]:
    # Tells a refusal of some text from a refusal of everything, at the price of two short texts.
    for item in sorted(items, key=lambda item: len(item.text))[:_CANARIES]:
        try:
            yield talk.ask([item.text])
        except RequestRefusedError:
            continue
        return True
    return False


def _settle_one(item: Item, refusal: RequestRefusedError, talk: Talk) -> Flow[Batch]:
    if not is_too_long(refusal):
        refusal.positions = (item.position,)
        return _failed(refusal)
    if talk.long_text == "error":
        error = TextTooLongError(
            f"`{talk.parameter}` holds a text at position {item.position} that is longer than the model reads "
            f"({refusal}). Split it, or pass long_text='truncate'.",
            parameter=talk.parameter,
            positions=(item.position,),
        )
        return _failed(error)
    values = yield from _shorten(item.text, talk)
    if values is None:
        refusal.positions = (item.position,)
        return _failed(refusal)
    (batch,) = _checked([item], values, talk)
    return batch if batch.failure else replace(batch, shortened=(item.position,))


def _shorten(text: str, talk: Talk) -> Flow[Float32 | None]:
    # Only the end of the text goes: the prompt before it and the token the server appends after it stay.
    values: Float32 | None = None
    longest_taken, shortest_refused = 0, len(text)
    regrown = 0
    while regrown < _REGROW_STEPS:
        length = (longest_taken + shortest_refused) // 2
        if length == longest_taken:
            break
        try:
            reply = yield talk.ask([text[:length]])
        except RequestRefusedError as refusal:
            if not is_too_long(refusal):
                raise
            shortest_refused = length
        else:
            values = talk.read(reply, 1)
            longest_taken = length
        regrown += longest_taken > 0
    return values


def _checked(items: Sequence[Item], values: Float32, talk: Talk) -> list[Batch]:
    positions = [item.position for item in items]
    bad = set(vectors.unusable(values).tolist())
    if not bad:
        return [Batch(positions, values)]
    good = [at for at in range(len(items)) if at not in bad]
    wrong = tuple(sorted(positions[at] for at in bad))
    error = BadReplyError(
        f"The server's reply for `{talk.parameter}` at {', '.join(map(str, wrong))} holds NaN, infinite or all-zero "
        "values. On a GPU this is usually float16 overflowing: serve the model in bfloat16 or float32.",
        positions=wrong,
    )
    kept = [Batch([positions[at] for at in good], values[good])] if good else []
    return [*kept, _failed(error)]


def _failed(error: RequestRefusedError | TextTooLongError | BadReplyError) -> Batch:
    return Batch((), np.empty(0, np.float32), failure=error)
