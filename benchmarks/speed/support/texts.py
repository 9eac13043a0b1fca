"""Texts of exactly known token counts."""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import transformers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from qwen_embed_integrations.profiles import Role

# A whole word in a vocabulary: with Qwen's mark of a blank, or bare in BERT's.
_WORD = re.compile(r"Ġ?([a-z]{4})")


@dataclass(frozen=True)
class Workload:
    """Texts of a kind.

    Attributes:
        name: What to call it.
        role: How they are embedded.
        shortest: Fewest tokens of a text, special tokens included, the prompt before a query not.
        longest: Most tokens.
    """

    name: str
    role: Role
    shortest: int
    longest: int

    @property
    def mean(self) -> float:
        """Tokens of a text, on average."""
        return (self.shortest + self.longest) / 2


WORKLOADS = {
    each.name: each
    for each in (
        Workload("queries", "query", 5, 20),
        Workload("chunks", "document", 20, 500),
        Workload("documents", "document", 2000, 8000),
    )
}


@dataclass(frozen=True)
class Texts:
    """Texts, and what a model reads of them.

    Attributes:
        texts: Without the prompt.
        role: How they are embedded.
        lengths: Tokens of each, with special tokens and prompt.
    """

    texts: list[str]
    role: Role
    lengths: list[int]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.texts)

    @property
    def tokens(self) -> int:
        """Tokens of all of them."""
        return sum(self.lengths)

    def first(self, count: int) -> Texts:
        """Return the first of them."""
        return Texts(self.texts[:count], self.role, self.lengths[:count])


class TextMaker:
    """Makes texts for a checkpoint."""

    def __init__(self, folder: Path, query_prefix: str, seed: int) -> None:
        self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        words = {match[1] for token in self._tokenizer.get_vocab() if (match := _WORD.fullmatch(token))}
        self._words = self._whole(sorted(words))
        self._special = self._counts([""])[0]
        self._prefix = query_prefix
        self._draw = random.Random(seed)  # noqa: S311 no secret

    def _whole(self, words: list[str]) -> list[str]:
        # One token both at the beginning and after a blank.
        alone = self._counts(words)
        after = self._counts([f"{words[0]} {word}" for word in words])
        one = min(alone)
        pairs = zip(alone, after, strict=True)
        return [word for word, pair in zip(words, pairs, strict=True) if pair == (one, one + 1)]

    def make(self, workload: Workload, count: int) -> Texts:
        """Make texts of lengths evenly spread over a workload's, in random order.

        Args:
            workload: Which lengths.
            count: How many texts.

        Raises:
            AssertionError: If a text did not become as long as wanted.
        """
        wanted = list(_spread(workload, count))
        self._draw.shuffle(wanted)
        texts = [" ".join(self._draw.choices(self._words, k=length - self._special)) for length in wanted]
        if self._counts(texts) != wanted:
            raise AssertionError("a made word is no single token")
        prefix = self._prefix if workload.role == "query" else ""
        return Texts(texts, workload.role, self._counts([prefix + text for text in texts]))

    def prompt_tokens(self, role: Role) -> int:
        """Return how many tokens the prompt adds to a text."""
        word = self._words[0]
        return self._counts([self._prefix + word])[0] - self._counts([word])[0] if role == "query" else 0

    def _counts(self, texts: list[str]) -> list[int]:
        return [len(ids) for ids in self._tokenizer(texts, verbose=False)["input_ids"]]


def _spread(workload: Workload, count: int) -> Iterator[int]:
    # In the middle of equal steps: few texts, too, have the mean of many.
    width = workload.longest - workload.shortest + 1
    for step in range(count):
        yield workload.shortest + math.floor(width * (step + 0.5) / count)
