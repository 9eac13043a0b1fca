"""What all classes here share: settings that copy, pickle and serialise, and the core object built from them."""

from __future__ import annotations

import os
from collections.abc import Mapping  # noqa: TC003 pydantic reads it at runtime
from copy import copy
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict, Field, SecretStr

from qwen_embed_integrations.adapter_base import COPIED_FROM, CoreModel, base_url_from_env, options_of
from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.options import Dialect, LocalOptions, LongText, ServedOptions, check_names

if TYPE_CHECKING:
    from pathlib import Path

    from qwen_embed_integrations.engine import Usage


class CoreSettings(CoreModel):
    """Settings of an embedder or a reranker, and the object built from them.

    What each option means stands in `ServedOptions` and `LocalOptions`, from where the defaults come. What the
    built object depends on is frozen: `model_copy(update={...})` makes an object with other settings.
    """

    # Keys and headers may be among the input, so errors must not quote it.
    model_config = ConfigDict(
        extra="forbid", protected_namespaces=(), hide_input_in_errors=True, arbitrary_types_allowed=True
    )

    long_text: LongText = Field(ServedOptions.long_text, frozen=True)
    show_progress: bool = Field(ServedOptions.show_progress, frozen=True, exclude=True)

    def __init__(self, **settings: Any) -> None:
        check_names(settings.keys() - {COPIED_FROM}, list(type(self).model_fields), of=type(self).__name__)
        super().__init__(**settings)

    @property
    def usage(self) -> Usage:
        """Tokens, requests and cut texts so far, summed over all calls."""
        usage: Usage = self._get().usage
        return usage

    def __getstate__(self) -> dict[Any, Any]:
        # LlamaIndex drops what cannot be pickled, such as a rate limiter, and not from the pickle alone: it deletes
        # the attribute from the object itself. That is a copy here.
        return super(CoreSettings, copy(self)).__getstate__()

    def __setattr__(self, name: str, value: Any) -> None:
        field = type(self).model_fields.get(name)
        if field is not None and field.frozen:
            raise InvalidInputError(
                f"`{name}` cannot be changed, since it is in use. Make another object: "
                f"model_copy(update={{{name!r}: ...}}).",
                parameter=name,
            )
        super().__setattr__(name, value)


class ServerSettings(CoreSettings):
    """Settings of a model behind HTTP."""

    base_url: str = Field(frozen=True)
    api_key: SecretStr | None = Field(frozen=True, exclude=True)
    dialect: Dialect = Field(ServedOptions.dialect, frozen=True)
    batch_size: int = Field(ServedOptions.batch_size, frozen=True, exclude=True)
    max_concurrency: int = Field(ServedOptions.max_concurrency, frozen=True, exclude=True)
    timeout: float = Field(ServedOptions.timeout, frozen=True, exclude=True)
    max_retries: int = Field(ServedOptions.max_retries, frozen=True, exclude=True)
    default_headers: Mapping[str, str] | None = Field(
        ServedOptions.default_headers, frozen=True, exclude=True, repr=False
    )

    def __init__(self, *, base_url: str | None, api_key: SecretStr | str | None, **settings: Any) -> None:
        key = api_key or os.environ.get("QWEN_EMBED_API_KEY") or None
        super().__init__(base_url=base_url or base_url_from_env(), api_key=key, **settings)

    def _options(self) -> dict[str, Any]:
        return options_of(self, ServedOptions)


class LocalSettings(CoreSettings):
    """Settings of a model in this process."""

    _loads: ClassVar[bool] = True

    revision: str | None = Field(LocalOptions.revision, frozen=True)
    device: str = Field(LocalOptions.device, frozen=True, exclude=True)
    dtype: str = Field(LocalOptions.dtype, frozen=True, exclude=True)
    token_budget: int | None = Field(LocalOptions.token_budget, frozen=True, exclude=True)

    def __init__(self, **settings: Any) -> None:
        # Stated for type checkers, which would take the fields of this class for all there are.
        super().__init__(**settings)

    def _options(self) -> dict[str, Any]:
        return options_of(self, LocalOptions)


def name_of(model: str | Path | None) -> str:
    """Return the name a model was given by.

    Raises:
        InvalidInputError: If there is none.
    """
    if not model:
        raise InvalidInputError("`model` is not given; pass the model's name.", parameter="model")
    return os.fspath(model)
