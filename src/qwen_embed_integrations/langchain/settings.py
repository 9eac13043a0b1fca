"""What all classes here share: settings that can be copied, pickled and dumped, and the core object built from them."""

from __future__ import annotations

import os
from collections.abc import Mapping  # noqa: TC003 pydantic reads it at runtime
from dataclasses import asdict
from typing import Annotated, Any, ClassVar

from langchain_core.load.serializable import Serializable
from langchain_core.utils import secret_from_env
from pydantic import BeforeValidator, ConfigDict, Field, SecretStr

from qwen_embed_integrations.adapter_base import CoreModel, base_url_from_env, options_of
from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.options import Dialect, LocalOptions, LongText, ServedOptions
from qwen_embed_integrations.profiles import ModelProfile, RerankProfile  # noqa: TC001 pydantic reads it at runtime
from qwen_embed_integrations.server_info import ServerInfo

ModelName = Annotated[str, BeforeValidator(lambda model: os.fspath(model) if isinstance(model, os.PathLike) else model)]

# LangChain's name for it.
_RENAMED = {"show_progress": "show_progress_bar"}


class Settings(CoreModel, Serializable):
    """Settings of an embedder or a reranker, and the object built from them.

    What each option means stands in `ServedOptions` and `LocalOptions`, from where the defaults come. Settings do not
    change: `model_copy(update={...})` makes an object with others.
    """

    # Keys and headers may be among the input, so errors must not quote it.
    model_config = ConfigDict(extra="forbid", populate_by_name=True, protected_namespaces=(), hide_input_in_errors=True)

    model: ModelName
    """Served: the name the server knows the model by, which also picks the profile. Local: a folder or a hub id."""
    profile: ModelProfile | RerankProfile | None = None
    """What the model wants, where its name or its files do not tell."""
    long_text: LongText = ServedOptions.long_text
    show_progress_bar: bool = ServedOptions.show_progress

    def __setattr__(self, name: str, value: Any) -> None:
        if name in type(self).model_fields:
            raise InvalidInputError(
                f"`{name}` cannot be changed, since it is in use. Make another object: "
                f"model_copy(update={{{name!r}: ...}}).",
                parameter=name,
            )
        super().__setattr__(name, value)

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Tell LangChain that `dumpd` and `load` work."""
        return True

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """What LangChain cannot dump by itself: a profile goes as plain data."""
        return {} if self.profile is None else {"profile": asdict(self.profile)}


class ServedSettings(Settings):
    """Settings of a model behind HTTP."""

    base_url: str = Field(default_factory=base_url_from_env)
    """Address up to and including `/v1`. Read from `QWEN_EMBED_BASE_URL` where not given."""
    api_key: SecretStr | None = Field(default_factory=secret_from_env("QWEN_EMBED_API_KEY", default=None))
    """Sent as a bearer token. Read from `QWEN_EMBED_API_KEY` where not given."""
    dialect: Dialect = ServedOptions.dialect
    batch_size: int = ServedOptions.batch_size
    max_concurrency: int = ServedOptions.max_concurrency
    timeout: float = ServedOptions.timeout
    max_retries: int = ServedOptions.max_retries
    default_headers: Mapping[str, str] | None = Field(ServedOptions.default_headers, exclude=True, repr=False)
    """Sent with every request. Never shown and never dumped, since it may hold keys: pass it again after `load`."""

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Dump the key as a reference to this secret."""
        return {"api_key": "QWEN_EMBED_API_KEY"}

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """What LangChain cannot dump by itself."""
        dialect = {"dialect": asdict(self.dialect)} if isinstance(self.dialect, ServerInfo) else {}
        return {**super().lc_attributes, **dialect}

    def _options(self) -> dict[str, Any]:
        return options_of(self, ServedOptions, _RENAMED)


class LocalSettings(Settings):
    """Settings of a model in this process."""

    _loads: ClassVar[bool] = True

    device: str = LocalOptions.device
    dtype: str = LocalOptions.dtype
    revision: str | None = LocalOptions.revision
    token_budget: int | None = LocalOptions.token_budget

    def _options(self) -> dict[str, Any]:
        return options_of(self, LocalOptions, _RENAMED)
