"""What all classes here share: settings that copy, pickle and serialise, and the core object built from them."""

from __future__ import annotations

import os
from abc import abstractmethod
from copy import copy
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr

from qwen_embed_integrations.adapter_base import Built, base_url_from_env
from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.options import LongText  # noqa: TC001 as above
from qwen_embed_integrations.server_info import DialectName, ServerInfo

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from typing_extensions import Self

    from qwen_embed_integrations.engine import Usage


# What `dialect` may be.
Dialect = Literal["auto", DialectName] | ServerInfo


class CoreSettings(BaseModel):
    """Settings of an embedder or a reranker, and the object built from them.

    What the built object depends on is frozen: `model_copy(update={...})` makes an object with other settings.
    """

    # Keys and headers may be among the input, so errors must not quote it.
    model_config = ConfigDict(
        extra="forbid", protected_namespaces=(), hide_input_in_errors=True, arbitrary_types_allowed=True
    )

    long_text: LongText = Field(frozen=True)
    show_progress: bool = Field(frozen=True, exclude=True)

    _built: Built[Any] = PrivateAttr(default_factory=Built)

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # Wrong settings and missing weights should fail here, and with the core's own errors.
        self._built.get(self._build)

    @abstractmethod
    def _build(self) -> Any:
        """Make the core object."""

    @property
    def usage(self) -> Usage:
        """Tokens and requests so far, summed over all calls."""
        spent: Usage = self._built.get(self._build).usage
        return spent

    def close(self) -> None:
        """Release connections, threads and memory; the next use builds them anew."""
        if (built := self._built.take()) is not None:
            built.close()

    async def aclose(self) -> None:
        """Release connections, threads and memory, those of the running event loop too; see `close`."""
        if (built := self._built.take()) is not None:
            await built.aclose()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Make a copy, with other settings if wanted; its core object is built at first use."""
        if update:
            # Through the constructor: what pydantic would take unchecked, a misspelt name too, is an error.
            settings = {name: getattr(self, name) for name in type(self).model_fields}
            return type(self)(**{**settings, **update})
        copied = super().model_copy(deep=deep)
        copied._built = Built()  # noqa: SLF001 its own class
        return copied

    def __getstate__(self) -> dict[Any, Any]:
        # LlamaIndex drops what cannot be pickled, such as a rate limiter, and not from the pickle alone: it deletes
        # the attribute from the object at hand. That is a copy here.
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
    dialect: Dialect = Field(frozen=True)
    batch_size: int = Field(frozen=True, exclude=True)
    max_concurrency: int = Field(frozen=True, exclude=True)
    timeout: float = Field(frozen=True, exclude=True)
    max_retries: int = Field(frozen=True, exclude=True)
    default_headers: dict[str, str] | None = Field(frozen=True, exclude=True, repr=False)

    def __init__(self, *, base_url: str | None, api_key: SecretStr | str | None, **settings: Any) -> None:
        key = api_key or os.environ.get("QWEN_EMBED_API_KEY") or None
        super().__init__(base_url=base_url or base_url_from_env(), api_key=key, **settings)

    def _served(self) -> dict[str, Any]:
        """Return the arguments that served embedders and rerankers share."""
        return {
            "base_url": self.base_url,
            "api_key": self.api_key and self.api_key.get_secret_value(),
            "dialect": self.dialect,
            "batch_size": self.batch_size,
            "max_concurrency": self.max_concurrency,
            "timeout": self.timeout,
            "max_retries": self.max_retries,
            "default_headers": self.default_headers,
            "long_text": self.long_text,
            "show_progress": self.show_progress,
        }


class LocalSettings(CoreSettings):
    """Settings of a model in this process."""

    revision: str | None = Field(frozen=True)
    device: str = Field(frozen=True, exclude=True)
    dtype: str = Field(frozen=True, exclude=True)
    token_budget: int | None = Field(frozen=True, exclude=True)

    def __init__(self, **settings: Any) -> None:
        # Stated for type checkers, which would take the fields of this class for all there are.
        super().__init__(**settings)

    def _local(self) -> dict[str, Any]:
        """Return the arguments that local embedders and rerankers share."""
        return {
            "revision": self.revision,
            "device": self.device,
            "dtype": self.dtype,
            "token_budget": self.token_budget,
            "long_text": self.long_text,
            "show_progress": self.show_progress,
        }


def name_of(model: str | Path | None) -> str:
    """Return the name a model was given by.

    Raises:
        InvalidInputError: If there is none.
    """
    if not model:
        raise InvalidInputError("`model` is not given; pass the model's name.", parameter="model")
    return os.fspath(model)
