"""Every option of a served and of a local model: its name, type, default and meaning, once.

Layers pass an options object on whole. A new option is a line in the dataclass here, its type in the keywords below it
for type checkers, and a field in each framework, whose default is read from here
(`tests/test_options.py` compares all of them).
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.inputs import check_long_text, check_whole_number
from qwen_embed_integrations.server_info import DialectName, ServerInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Dialect = Literal["auto", DialectName] | ServerInfo
LongText = Literal["truncate", "error"]
EncodingFormat = Literal["auto", "base64", "float"]


@dataclass(frozen=True, kw_only=True)
class ServedOptions:
    """How a model behind HTTP is reached and called.

    Raises:
        InvalidInputError: If a value cannot be used, naming the option.
    """

    base_url: str
    """Address up to and including `/v1`; `/v1` is added to a bare host."""
    api_key: str | None = field(default=None, repr=False)
    """Sent as a bearer token."""
    dialect: Dialect = "auto"
    """What the server is, where it is not to be recognised: `"sglang"`, `"vllm"`, … A `ServerInfo` says more, and then
    nothing is asked."""
    batch_size: int = 64
    """Texts in one request, at most."""
    max_concurrency: int = 8
    """Requests in flight at once, over all callers in all threads, and in each event loop."""
    timeout: float = 60.0
    """Seconds to wait for the server to say something more."""
    max_retries: int = 3
    """Retries of a request after a failed connection, 408, 409, 429 or 5xx."""
    long_text: LongText = "truncate"
    """`"truncate"` cuts what the server finds too long and warns; `"error"` raises."""
    encoding_format: EncodingFormat = "auto"
    """How vectors travel; `"auto"` takes base64 where the API is not known to lack it. Embeddings only."""
    default_headers: Mapping[str, str] | None = field(default=None, repr=False)
    """Sent with every request."""
    show_progress: bool = False
    """Show a progress bar (needs tqdm)."""

    def __post_init__(self) -> None:
        check_whole_number(self.batch_size, parameter="batch_size", minimum=1)
        check_whole_number(self.max_concurrency, parameter="max_concurrency", minimum=1)
        check_whole_number(self.max_retries, parameter="max_retries", minimum=0)
        check_long_text(self.long_text)
        if (
            isinstance(self.timeout, bool)
            or not isinstance(self.timeout, (int, float))
            or not 0 < self.timeout < math.inf
        ):
            raise InvalidInputError(
                f"`timeout` is {self.timeout!r}; it must be a number of seconds above 0.", parameter="timeout"
            )
        if self.encoding_format not in {"auto", "base64", "float"}:
            raise InvalidInputError(
                f"`encoding_format` is {self.encoding_format!r}; it must be 'auto', 'base64' or 'float'.",
                parameter="encoding_format",
            )


class ServedKeywords(TypedDict, total=False):
    """The options of `ServedOptions` as keyword arguments, without the server's address and the key."""

    dialect: Dialect
    batch_size: int
    max_concurrency: int
    timeout: float
    max_retries: int
    long_text: LongText
    default_headers: Mapping[str, str] | None
    show_progress: bool


class ServedEmbeddingKeywords(ServedKeywords, total=False):
    """The same, with the options that only embeddings have."""

    encoding_format: EncodingFormat


@dataclass(frozen=True, kw_only=True)
class LocalOptions:
    """Where and how a model in this process is loaded and run.

    Raises:
        InvalidInputError: If a value cannot be used, naming the option. `device` and `dtype` are checked when the model
            is loaded.
    """

    device: str = "auto"
    """`"auto"`, `"cpu"`, `"cuda"`, `"cuda:1"`, …"""
    dtype: str = "auto"
    """`"auto"` (bfloat16 where the hardware is fast at it, else float32), `"float32"`, `"bfloat16"` or `"float16"`."""
    revision: str | None = None
    """Commit, tag or branch of a hub model."""
    token_budget: int | None = None
    """Tokens in one forward pass; None picks by device."""
    long_text: LongText = "truncate"
    """`"truncate"` cuts what is longer than the model reads and warns; `"error"` raises."""
    show_progress: bool = False
    """Show a progress bar (needs tqdm)."""

    def __post_init__(self) -> None:
        check_long_text(self.long_text)
        if self.token_budget is not None:
            check_whole_number(self.token_budget, parameter="token_budget", minimum=1)


class LocalKeywords(TypedDict, total=False):
    """The options of `LocalOptions` as keyword arguments."""

    device: str
    dtype: str
    revision: str | None
    token_budget: int | None
    long_text: LongText
    show_progress: bool


def check_keywords(method: Callable[..., Any], options: Mapping[str, object], known: type) -> None:
    """Refuse options that do not exist.

    Args:
        method: What was called, for the message.
        options: What it was given besides the parameters it names.
        known: The TypedDict of the options it takes.

    Raises:
        InvalidInputError: Naming the first unknown option and those with a similar name, or all where none is similar.
    """
    parameters = inspect.signature(method).parameters.values()
    named = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    check_names(options, [*named, *known.__annotations__], of=method.__qualname__)


def check_names(given: Iterable[str], known: Sequence[str], *, of: str) -> None:
    """Refuse names of options that do not exist.

    Args:
        given: The names.
        known: All that exist.
        of: What has these options, for the message.

    Raises:
        InvalidInputError: As `check_keywords` does.
    """
    unknown = next((name for name in given if name not in known), None)
    if unknown is None:
        return
    similar = get_close_matches(unknown, known)
    names = ", ".join(f"`{name}`" for name in similar or known)
    advice = f"Did you mean {names}?" if similar else f"There are {names}."
    raise InvalidInputError(f"`{unknown}` is no option of {of}. {advice}", parameter=unknown)
