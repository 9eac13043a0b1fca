"""BM25 over words, identifier parts and, where a script has no spaces, pairs of characters."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np

from qwen_embed_integrations.benchmark.ranking import best
from qwen_embed_integrations.extras import require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qwen_embed_integrations.benchmark.ranking import Scores

# Thai, Lao, Burmese and Khmer; kana; Han; Hangul, whose words carry endings.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_UNSPACED_RUN = re.compile(rf"[{_UNSPACED}]+")
# Vowel signs and accents of their own, as in Hindi and vowelled Arabic, which `\w` leaves out. All lie below U+1F000
# but for variation selectors, which only pick a glyph and are left out here too.
_MARKS = "".join(
    character
    for character in map(chr, range(0x300, 0x1F000))
    if unicodedata.category(character) in ("Mn", "Mc")
    and not "\ufe00" <= character <= "\ufe0f"
    and not _UNSPACED_RUN.match(character)
)
_PIECE = re.compile(rf"[{_UNSPACED}]+|[^\W{_UNSPACED}](?:[^\W{_UNSPACED}]|[{_MARKS}])*")
_IDENTIFIER_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def tokenize(text: str) -> list[str]:
    """Split a text into the terms that BM25 matches.

    Args:
        text: A query or a document, in any language, or code.

    Returns:
        Lower-cased terms in order: each word; behind a word in snake_case or camelCase also its parts; and for
        scripts without spaces each pair of neighbouring characters, or a character that stands alone.
    """
    terms: list[str] = []
    for piece in _PIECE.findall(unicodedata.normalize("NFKC", text)):
        if _UNSPACED_RUN.fullmatch(piece):
            terms.extend([piece[start : start + 2] for start in range(len(piece) - 1)] or [piece])
        else:
            terms.append(piece.lower())
            parts = [part for name in piece.split("_") for part in _parts(name)]
            if parts != [piece]:
                terms.extend(part.lower() for part in parts)
    return terms


def _parts(name: str) -> list[str]:
    # Only ASCII identifiers are split: elsewhere a capital inside a word is rare, and these patterns miss letters.
    parts: list[str] = _IDENTIFIER_PART.findall(name) if name.isascii() else [name]
    return [part for part in parts if part]


class LexicalIndex:
    """A BM25 index in memory."""

    def __init__(self, documents: Mapping[str, str], *, k1: float = 1.5, b: float = 0.75) -> None:
        """Index documents.

        Args:
            documents: Text by document id.
            k1: How much a repeated term adds.
            b: How much long documents are held back.

        Raises:
            MissingExtraError: If bm25s is not installed.
        """
        bm25s = require("bm25s", extra="benchmark")
        self._ids = list(documents)
        self._bm25: Any = bm25s.BM25(k1=k1, b=b, method="lucene")
        self._bm25.index([tokenize(text) for text in documents.values()], show_progress=False)

    def search(self, query: str, depth: int) -> Scores:
        """Find the documents that share terms with a query.

        Args:
            query: The query.
            depth: How many to return, at most.

        Returns:
            Score by document id; documents that share no term are not among them.
        """
        known = [term for term in tokenize(query) if term in self._bm25.vocab_dict]
        if not known:
            return {}
        scores = np.asarray(self._bm25.get_scores(known), np.float64)
        return {document: score for document, score in best(self._ids, scores, depth).items() if score > 0}
