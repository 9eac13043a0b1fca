"""What must be true of a tokenizer before its ids are believed."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer as StoredTokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from qwen_embed_integrations.errors import ModelLoadError

if TYPE_CHECKING:
    from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles

logger = logging.getLogger(__name__)

# What tokenizers split differently: contractions, blanks, digits, hyphens, line ends. Lower case and without accents,
# since settings beside tokenizer.json may rightly change those; a blank in front, since one may be added there.
_PROBE = " it's  a 1234 well-known def f(x):\n\n\treturn  x_1 quick. brown fox"
# Tokens of a chat format, which stand for what no text says.
_MARK = re.compile(r"<\|\w+\|>")


def load_tokenizer(files: CheckpointFiles) -> Any:
    """Load a checkpoint's tokenizer, and prove that it reads as its tokenizer.json says.

    transformers 5 builds the tokenizers of known families anew from their vocabulary, with the family's usual rules
    in place of the file's: https://github.com/huggingface/transformers/issues/45488

    Raises:
        ModelLoadError: If there is none, or it cannot be loaded as stored.
    """
    path = files.folder / "tokenizer.json"
    try:
        loaded = AutoTokenizer.from_pretrained(files.folder, local_files_only=True)
        if not path.is_file() or _ids(loaded) == (wanted := _stored_ids(path)):
            return loaded
        plain = PreTrainedTokenizerFast.from_pretrained(files.folder, local_files_only=True)
    except Exception as error:
        # tokenizers raises Exception itself.
        raise ModelLoadError(f"`model` {files.name!r} has no tokenizer that can be loaded: {error}") from error
    if _ids(plain) != wanted:
        raise ModelLoadError(
            f"`model` {files.name!r} has a tokenizer.json that transformers reads in another way than it says: its "
            "vectors would be wrong. Try another version of transformers, or serve the model."
        )
    logger.warning(
        "%s: transformers' %s splits text in another way than tokenizer.json says; the file is followed",
        files.name,
        type(loaded).__name__,
    )
    return plain


def require_rows(files: CheckpointFiles, tokenizer: Any) -> None:
    """Refuse a tokenizer that gives ids for which the model has no embedding.

    Raises:
        ModelLoadError: Naming a token and the number of rows.
    """
    rows = files.config.get("vocab_size")
    vocabulary = tokenizer.get_vocab()
    last = max(vocabulary, key=vocabulary.__getitem__, default=None)
    if rows and last is not None and vocabulary[last] >= rows:
        raise ModelLoadError(
            f"`model` {files.name!r} has {rows} token embeddings, and its tokenizer gives ids up to "
            f"{vocabulary[last]} ({last!r}): it is another model's tokenizer. Copy that from where the weights come "
            "from."
        )


def require_marks(files: CheckpointFiles, tokenizer: Any, prompt: str) -> None:
    """Refuse a tokenizer that takes the marks of a chat prompt for plain text.

    Raises:
        ModelLoadError: Naming the marks.
    """
    split = [
        mark
        for mark in dict.fromkeys(_MARK.findall(prompt))
        if len(tokenizer(mark, add_special_tokens=False)["input_ids"]) != 1
    ]
    if split:
        raise ModelLoadError(
            f"`model` {files.name!r} has a tokenizer that splits {', '.join(split)}, which its prompt is marked with "
            "and which must be one token each. Copy the tokenizer from where the weights come from."
        )


def ends_to_add(files: CheckpointFiles, tokenizer: Any, appended: str | None) -> tuple[list[int], list[int]] | None:
    """Return what must be put around a text, where the tokenizer does not end it as the model wants.

    Args:
        files: The checkpoint.
        tokenizer: Its tokenizer.
        appended: Token that must end every input; None for none.

    Returns:
        Token ids before and after a text without special tokens; None where the tokenizer does all by itself.

    Raises:
        ModelLoadError: If the tokenizer does not have that token.
    """
    # Early snapshots and conversions lack the post-processor that appends it, and the vector is pooled from it:
    # https://github.com/QwenLM/Qwen3-Embedding/issues/54
    if appended is None:
        return None
    wanted = tokenizer.convert_tokens_to_ids(appended)
    if wanted is None or wanted == tokenizer.unk_token_id:
        raise ModelLoadError(
            f"`model` {files.name!r} has no token {appended!r} to end inputs with; is it the right tokenizer?"
        )
    text = "x x x x x x x x"
    bare: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    whole: list[int] = tokenizer(text)["input_ids"]
    added = len(whole) - len(bare)
    start = next((first for first in range(added + 1) if whole[first : first + len(bare)] == bare), 0)
    before, after = whole[:start], whole[start + len(bare) :]
    cut = tokenizer(text, truncation=True, max_length=len(whole) - 2)["input_ids"]
    if after == [wanted] and cut[-1:] == [wanted]:
        return None
    logger.warning(
        "%s: its tokenizer ends inputs with %s instead of %s alone; they are ended as the model wants",
        files.name,
        tokenizer.convert_ids_to_tokens(after) or "nothing",
        appended,
    )
    return before, [wanted]


def _ids(tokenizer: Any) -> list[int]:
    ids: list[int] = tokenizer(_PROBE, add_special_tokens=False)["input_ids"]
    return ids


def _stored_ids(path: Any) -> list[int]:
    stored = StoredTokenizer.from_file(str(path))
    stored.no_truncation()
    stored.no_padding()
    ids: list[int] = stored.encode(_PROBE, add_special_tokens=False).ids
    return ids
