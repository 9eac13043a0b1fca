"""Texts tokenized a piece at a time, ahead of their forward pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.local.scheduler.batching import fail

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qwen_embed_integrations.local.scheduler.batching import Job
    from qwen_embed_integrations.local.sequences import Tokens

# One piece: how long a query that arrives meanwhile waits (some 30 ms), and enough for the tokenizer's own threads and
# for the first pass of a job, which starts when its first piece is tokenized.
_TEXTS = 256
_CHARACTERS = 131_072


@dataclass
class Request:
    """A job, its texts, and how many of them are tokenized."""

    job: Job
    tokenize: Callable[[Sequence[str]], Tokens]
    texts: Sequence[str]
    tokenized: int = 0
    characters_left: int = field(init=False)

    def __post_init__(self) -> None:
        self.characters_left = sum(map(len, self.texts))

    @property
    def texts_left(self) -> int:
        """How many texts are not tokenized."""
        return len(self.texts) - self.tokenized

    def next_piece(self) -> Tokens:
        """Tokenize some more of the texts.

        Raises:
            InvalidInputError: As `tokenize` does, naming all texts of the job that cannot be used.
        """
        end, characters = self.tokenized, 0
        while end < min(len(self.texts), self.tokenized + _TEXTS) and characters < _CHARACTERS:
            characters += len(self.texts[end])
            end += 1
        try:
            tokens = self.tokenize(self.texts[self.tokenized : end])
        except InvalidInputError:
            self.tokenize(self.texts)
            raise
        self.tokenized, self.characters_left = end, self.characters_left - characters
        return tokens


@dataclass
class TokenizeQueue:
    """Tokenizes requests, the shortest first, so that a query slips in between the pieces of an index build.

    Attributes:
        send: Takes jobs and their next tokens.
        requests: Those that are not tokenized to the end.
    """

    send: Callable[[list[tuple[Job, Tokens]]], None]
    requests: list[Request] = field(default_factory=list)

    def step(self) -> None:
        """Tokenize one piece, or as many whole requests as fit into one, and send them together.

        Sent one by one, the first of many queries that come at once would be computed alone.
        """
        # A job may have been cancelled, or have failed in computing.
        self.requests = [request for request in self.requests if not request.job.future.done()]
        tokenized: list[tuple[Job, Tokens]] = []
        texts = characters = 0
        while self.requests:
            request = min(self.requests, key=lambda request: request.characters_left)
            texts, characters = texts + request.texts_left, characters + request.characters_left
            if tokenized and (texts > _TEXTS or characters > _CHARACTERS):
                break
            try:
                tokenized.append((request.job, request.next_piece()))
            except BaseException as error:  # noqa: BLE001 a panic in a tokenizer too belongs to the caller who waits
                fail(request.job.future, error)
            if request.texts_left and not request.job.future.done():
                break
            self.requests.remove(request)
        if tokenized:
            self.send(tokenized)

    def abandon(self, error: BaseException) -> None:
        """Give all callers an error."""
        for request in self.requests:
            fail(request.job.future, error)
        self.requests = []
