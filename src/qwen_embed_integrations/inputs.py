"""Refusals of input that cannot be used, before anything is computed or sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_embed_integrations.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def check_long_text(long_text: str) -> None:
    """Refuse an unknown value of `long_text`.

    Raises:
        InvalidInputError: If it is neither `"truncate"` nor `"error"`.
    """
    if long_text not in {"truncate", "error"}:
        raise InvalidInputError(
            f"`long_text` is {long_text!r}; it must be 'truncate' or 'error'.", parameter="long_text"
        )


def check_whole_number(value: object, *, parameter: str, minimum: int) -> None:
    """Refuse a value that is not a whole number, or is too small.

    Raises:
        InvalidInputError: Naming the parameter and the smallest value.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise InvalidInputError(
            f"`{parameter}` is {value!r}; it must be a whole number of at least {minimum}.", parameter=parameter
        )


def check_name(value: object, *, parameter: str) -> None:
    """Refuse a name that is not a string, or is blank.

    Raises:
        InvalidInputError: Naming the parameter.
    """
    if not isinstance(value, str) or not value.strip():
        raise InvalidInputError(f"`{parameter}` is {value!r}; it must be a string.", parameter=parameter)


def check_instruction(instruction: object) -> None:
    """Refuse an instruction that is not a string.

    Raises:
        InvalidInputError: If it is neither a string nor None.
    """
    if instruction is not None and not isinstance(instruction, str):
        raise InvalidInputError(
            f"`instruction` is {type(instruction).__name__}; it must be a string, or None for the default.",
            parameter="instruction",
        )


def check_texts(texts: Iterable[str], *, parameter: str) -> list[str]:
    """Refuse texts that cannot be used, before anything is computed or sent.

    Args:
        texts: The texts.
        parameter: Name of the argument, for the message.

    Returns:
        The same texts in a list.

    Raises:
        InvalidInputError: If `texts` is a single string, or holds anything but strings, or blank text.
    """
    if isinstance(texts, str):
        raise InvalidInputError(f"`{parameter}` is one string; pass a list of strings.", parameter=parameter)
    try:
        listed = list(texts)
    except TypeError as error:
        raise InvalidInputError(
            f"`{parameter}` is {type(texts).__name__}; pass a list of strings.", parameter=parameter
        ) from error
    wrong = [position for position, text in enumerate(listed) if not isinstance(text, str)]
    if wrong:
        kinds = ", ".join(sorted({type(listed[position]).__name__ for position in wrong}))
        raise InvalidInputError(
            f"`{parameter}` must hold strings; found {kinds} at {name_positions(wrong)}.",
            parameter=parameter,
            positions=wrong,
        )
    blank = [position for position, text in enumerate(listed) if not text.strip()]
    if blank:
        raise InvalidInputError(
            f"`{parameter}` holds blank text at {name_positions(blank)}. Nothing was sent; drop these texts: a blank "
            "has no meaning to embed or score, and some servers refuse the whole request.",
            parameter=parameter,
            positions=blank,
        )
    broken = [position for position, text in enumerate(listed) if not _is_unicode(text)]
    if broken:
        raise InvalidInputError(
            f"`{parameter}` holds text with lone surrogates at {name_positions(broken)}, which cannot be sent. It was "
            "read with the wrong encoding; repair it, for example with text.encode('utf-8', 'replace').decode().",
            parameter=parameter,
            positions=broken,
        )
    return listed


def name_positions(positions: Sequence[int], shown: int = 10) -> str:
    """Return positions in words, the first few of them."""
    rest = len(positions) - shown
    word = "position" if len(positions) == 1 else "positions"
    return f"{word} {', '.join(map(str, positions[:shown]))}" + (f" and {rest} more" if rest > 0 else "")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
