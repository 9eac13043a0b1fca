"""How a batch of texts is settled with a server that may refuse it: halve, isolate, shorten.

Pure generators: they yield requests and receive replies, and know nothing of threads, loops or sockets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from qwen_embed_integrations import vectors
from qwen_embed_integrations.engine import Batch
from qwen_embed_integrations.errors import BadReplyError, RequestRefusedError, TextTooLongError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from qwen_embed_integrations.options import LongText
    from qwen_embed_integrations.served.flow import Flow, Request
    from qwen_embed_integrations.vectors import Floats

# A text is halved until it is accepted, then grown back in as many steps: within 1/8 of the longest that fits.
_REGROW_STEPS = 3
# llama.cpp's status for a text that does not fit its physical batch, which may be smaller than the model's context.
_BATCH_IS_FULL = 500
# A text no server has a reason to refuse.
_NEUTRAL = "hello"


@dataclass(frozen=True)
class Item:
    """A text and where it belongs."""

    position: int
    text: str


class Limits(Protocol):
    """What a server takes, as far as that is known by now."""

    long_text: LongText

    @property
    def batch_size(self) -> int:
        """Most texts in the next request."""
        ...

    @property
    def max_tokens(self) -> int | None:
        """Longest text that the model reads."""
        ...

    def take_at_most(self, count: int) -> None:
        """Remember how many texts it takes at once, where it refused more."""
        ...


@dataclass(frozen=True)
class Talk:
    """How to ask for a list of texts, and how to read the answer.

    Attributes:
        ask: Makes the request.
        read: Checks the reply to so many texts and returns their values, in order.
        parameter: What the texts are called, for messages.
        limits: What the server takes.
    """

    ask: Callable[[Sequence[str]], Request]
    read: Callable[[bytes, int], Floats]
    parameter: str
    limits: Limits


def in_batches(texts: Sequence[str], limits: Limits) -> Iterator[list[Item]]:
    """Yield the texts in order, as many at a time as the server takes, which may become less on the way."""
    start = 0
    while start < len(texts):
        batch = texts[start : start + limits.batch_size]
        yield [Item(start + offset, text) for offset, text in enumerate(batch)]
        start += len(batch)


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
    done: list[Batch] = []
    # More may be known of the server than when these were put together.
    waiting = _parts(list(items), talk.limits.batch_size)
    takes_any = were_too_many = too_bulky = False
    taken = 0
    while waiting:
        part = waiting.pop()
        try:
            reply = yield talk.ask([item.text for item in part])
        except RequestRefusedError as refusal:
            divides = len(part) > 1 and (refusal.too_many or refusal.too_long)
            if not (takes_any or divides or (yield from _takes_neutral(talk))):
                raise
            takes_any = takes_any or not divides
            if len(part) == 1:
                too_bulky |= refusal.too_many
                done.append((yield from _settle_one(part[0], refusal, talk)))
                continue
            were_too_many |= refusal.too_many
            # By length: the texts at fault for it end up together, and the rest goes through in one piece.
            part.sort(key=lambda item: len(item.text))
            stated = refusal.most_texts
            size = stated if stated is not None and 0 < stated < len(part) else (len(part) + 1) // 2
            waiting += _parts(part, size)
        else:
            takes_any = True
            taken = max(taken, len(part))
            done += _checked(part, talk.read(reply, len(part)), talk)
    # Where one text alone is too much for a request, the number of texts was not at fault.
    if were_too_many and taken and not too_bulky:
        talk.limits.take_at_most(taken)
    return done


def _parts(items: list[Item], size: int) -> list[list[Item]]:
    # The first one last, where it is taken from.
    return [items[start : start + size] for start in range(0, len(items), size)][::-1]


def _takes_neutral(talk: Talk) -> Flow[bool]:
    # Tells a refusal of some text from a refusal of everything, at the price of one word.
    try:
        yield talk.ask([_NEUTRAL])
    except RequestRefusedError:
        return False
    return True


def _settle_one(item: Item, refusal: RequestRefusedError, talk: Talk) -> Flow[Batch]:
    if not _is_too_long(refusal):
        return _refused(item, refusal, talk)
    if talk.limits.long_text == "error":
        reads = talk.limits.max_tokens
        model = "the model reads" if reads is None else f"the {reads} tokens that the model reads"
        if not refusal.too_long or refusal.status == _BATCH_IS_FULL:
            model = "the server takes"
        error = TextTooLongError(
            f"`{talk.parameter}` holds a text at position {item.position} that is longer than {model} "
            f"({refusal}). Split it, or pass long_text='truncate'.",
            parameter=talk.parameter,
            positions=(item.position,),
        )
        return _failed(error)
    values = yield from _shorten(item.text, talk)
    if values is None:
        return _refused(item, refusal, talk)
    (batch,) = _checked([item], values, talk)
    return batch if batch.failure else replace(batch, shortened=(item.position,))


def _shorten(text: str, talk: Talk) -> Flow[Floats | None]:
    # Only the end of the text goes: the prompt before it and the token the server appends after it stay.
    values: Floats | None = None
    longest_taken, shortest_refused = 0, len(text)
    steps = _REGROW_STEPS
    while steps and (length := (longest_taken + shortest_refused) // 2) > longest_taken:
        steps -= longest_taken > 0
        try:
            reply = yield talk.ask([text[:length]])
        except RequestRefusedError as refusal:
            if not _is_too_long(refusal):  # for example only blanks are left
                break
            shortest_refused = length
        else:
            values = talk.read(reply, 1)
            longest_taken = length
    return values


def _is_too_long(refusal: RequestRefusedError) -> bool:
    # Of a single text, "too much" is the same.
    return refusal.too_long or refusal.status == 413  # noqa: PLR2004 an HTTP status


def _checked(items: Sequence[Item], values: Floats, talk: Talk) -> list[Batch]:
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


def _refused(item: Item, refusal: RequestRefusedError, talk: Talk) -> Batch:
    refusal.positions = (item.position,)
    refusal.args = (f"`{talk.parameter}` holds a text at position {item.position} that was refused: {refusal}",)
    return _failed(refusal)


def _failed(error: RequestRefusedError | TextTooLongError | BadReplyError) -> Batch:
    return Batch((), np.empty(0, np.float32), failure=error)
