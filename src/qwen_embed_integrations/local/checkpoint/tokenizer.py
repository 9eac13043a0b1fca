"""Texts to token ids: whole, cut where they must be, and ended as the model wants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qwen_embed_integrations.errors import InvalidInputError, TextTooLongError
from qwen_embed_integrations.local.architectures import first_position
from qwen_embed_integrations.local.checkpoint.tokenizer_checks import ends_to_add, load_tokenizer, require_rows
from qwen_embed_integrations.local.sequences import Pair, Tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles
    from qwen_embed_integrations.options import LongText


class Tokenizer:
    """A checkpoint's tokenizer, checked after loading.

    Attributes:
        max_tokens: Longest input, special tokens included.
        pad: Token id for padding.
    """

    def __init__(
        self,
        files: CheckpointFiles,
        *,
        max_tokens: int | None,
        long_text: LongText,
        appended_token: str | None = None,
        lower_case: bool = False,
    ) -> None:
        self.raw: Any = load_tokenizer(files)
        require_rows(files, self.raw)
        # transformers marks "no limit known" by a number far above any real one, which min() passes over.
        self.max_tokens = int(max_tokens or self.raw.model_max_length)
        if positions := files.config.get("max_position_embeddings"):
            self.max_tokens = min(
                self.max_tokens, positions - first_position(files.model_type, files.config.get("pad_token_id"))
            )
        self.pad = self.raw.pad_token_id if self.raw.pad_token_id is not None else 0
        self._long_text = long_text
        self._lower_case = lower_case
        self._ends = ends_to_add(files, self.raw, appended_token)

    def encode(
        self, texts: Sequence[str], *, reserved: int = 0, parameter: str = "texts", special_tokens: bool = True
    ) -> Tokens:
        """Tokenize texts, with their special tokens unless told otherwise.

        Args:
            texts: The texts.
            reserved: Tokens to leave room for.
            parameter: What the texts are called, for messages.
            special_tokens: Whether to add those that the tokenizer puts around a text.

        Raises:
            InvalidInputError: If the tokenizer leaves no token of a text: its vector would be another text's.
            TextTooLongError: If a text is too long and `long_text` is `"error"`.
        """
        if self._lower_case:
            texts = [text.lower() for text in texts]
        before, after = self._ends or ([], [])
        room = self.max_tokens - len(before) - len(after) - reserved
        options = {"add_special_tokens": special_tokens and self._ends is None}
        ids: list[list[int]] = self._tokenize(list(texts), **options)["input_ids"]
        long = self._too_long(ids, room, parameter)
        for position in long:
            # The tokenizer's own truncation keeps the special tokens at the end.
            ids[position] = self._tokenize(texts[position], truncation=True, max_length=room, **options)["input_ids"]
        if self._ends is not None:
            ids = [before + tokens + after for tokens in ids]
        empty = [position for position, tokens in enumerate(ids) if not tokens]
        if empty:
            raise InvalidInputError(
                # The positions come in front of this where they are known within the whole call.
                "have no token: the tokenizer removes all of their characters. Leave them out.",
                parameter=parameter,
                positions=empty,
            )
        return Tokens(ids, long)

    def encode_pairs(self, query: str, documents: Sequence[str]) -> Tokens:
        """Tokenize a query with each document, as sequence-classification models read pairs.

        Args:
            query: First of each pair.
            documents: Second of each pair.

        Raises:
            TextTooLongError: If a pair is too long and `long_text` is `"error"`.
        """
        pairs = self._tokenize([query] * len(documents), list(documents))
        long = self._too_long(pairs["input_ids"], self.max_tokens, "documents")
        sequences = [self._pair(pairs, position) for position in range(len(documents))]
        for position in long:
            # The longer of the two is cut first, as sentence-transformers' CrossEncoder does.
            cut = self._tokenize([query], [documents[position]], truncation="longest_first", max_length=self.max_tokens)
            sequences[position] = self._pair(cut, 0)
        return Tokens(sequences, long)

    def _tokenize(self, *texts: Any, **options: Any) -> Any:
        return self.raw(*texts, return_attention_mask=False, verbose=False, **options)

    @staticmethod
    def _pair(encoded: Any, position: int) -> Pair:
        ids = encoded["input_ids"][position]
        return Pair(ids, encoded["token_type_ids"][position] if "token_type_ids" in encoded else [0] * len(ids))

    def _too_long(self, ids: Sequence[Sequence[int]], room: int, parameter: str) -> list[int]:
        long = [position for position, tokens in enumerate(ids) if len(tokens) > room]
        if long and self._long_text == "error":
            raise TextTooLongError(
                # The positions come in front of this where they are known within the whole call.
                f"have up to {max(len(ids[position]) for position in long)} tokens where {room} fit. Split them, or "
                "pass long_text='truncate'.",
                parameter=parameter,
                positions=long,
            )
        return long
