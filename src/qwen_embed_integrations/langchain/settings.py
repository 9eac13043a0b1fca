"""What all classes here share: settings that can be copied, pickled and dumped, and the core object built from them."""

from __future__ import annotations

import os
from abc import abstractmethod
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from langchain_core.load.serializable import Serializable
from langchain_core.utils import secret_from_env
from pydantic import BeforeValidator, ConfigDict, Field, PrivateAttr, SecretStr

from qwen_embed_integrations.adapter_base import Built, base_url_from_env
from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.options import LongText  # noqa: TC001 pydantic reads it at runtime
from qwen_embed_integrations.profiles import ModelProfile, RerankProfile  # noqa: TC001 as above
from qwen_embed_integrations.server_info import DialectName, ServerInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self
ModelName = Annotated[str, BeforeValidator(lambda model: os.fspath(model) if isinstance(model, os.PathLike) else model)]


class Settings(Serializable):
    """Settings of an embedder or a reranker, and the object built from them.

    Settings do not change: `model_copy(update={...})` makes an object with others, which builds its own core.
    """

    # Keys and headers may be among the input, so errors must not quote it.
    model_config = ConfigDict(extra="forbid", populate_by_name=True, protected_namespaces=(), hide_input_in_errors=True)

    model: ModelName
    """Served: the name the server knows the model by, which also picks the profile. Local: a folder or a hub id."""
    profile: ModelProfile | RerankProfile | None = None
    """What the model wants, where its name or its files do not tell."""
    long_text: LongText = "truncate"
    """`"truncate"` cuts what is longer than the model reads and warns; `"error"` raises."""
    show_progress_bar: bool = False
    """Show a progress bar."""

    _built: Built[Any] = PrivateAttr(default_factory=Built)

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # Wrong settings and missing weights should fail here, and with the core's own errors.
        self._built.get(self._build)

    @abstractmethod
    def _build(self) -> Any:
        """Make the core object."""

    def close(self) -> None:
        """Release connections, threads and memory; the next use builds them anew."""
        if (built := self._built.take()) is not None:
            built.close()

    async def aclose(self) -> None:
        """Release connections, threads and memory, those of the running event loop too; see `close`."""
        if (built := self._built.take()) is not None:
            await built.aclose()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy the settings; with an update, check them like new ones."""
        return type(self)(**{**dict(self), **update}) if update else super().model_copy(deep=deep)

    def __copy__(self) -> Self:
        copied = super().__copy__()
        # Closing one must not close the other.
        copied._built = Built()  # noqa: SLF001 its own class
        return copied

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
    dialect: Literal["auto", DialectName] | ServerInfo = "auto"
    """What the server is, where it is not to be recognised; a `ServerInfo` says more, and then nothing is asked."""
    batch_size: int = 64
    """Texts in one request, at most."""
    max_concurrency: int = 8
    """Requests in flight at once, over all callers in all threads, and in each event loop."""
    timeout: float = 60.0
    """Seconds to wait for the server to say something more."""
    max_retries: int = 3
    """Retries of a request after a failed connection, 408, 409, 429 or 5xx."""
    default_headers: dict[str, str] | None = Field(default=None, exclude=True, repr=False)
    """Sent with every request. Never shown and never dumped, since it may hold keys: pass it again after `load`."""

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Dump the key as a reference to this secret."""
        return {"api_key": "QWEN_EMBED_API_KEY"}

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """What LangChain cannot dump by itself."""
        stated = {"dialect": asdict(self.dialect)} if isinstance(self.dialect, ServerInfo) else {}
        return {**super().lc_attributes, **stated}

    def _served(self) -> dict[str, Any]:
        """Return the arguments that served embedders and rerankers share."""
        return {
            "base_url": self.base_url,
            "dialect": self.dialect,
            "api_key": (self.api_key and self.api_key.get_secret_value()) or None,
            "profile": self.profile,
            "batch_size": self.batch_size,
            "max_concurrency": self.max_concurrency,
            "timeout": self.timeout,
            "max_retries": self.max_retries,
            "long_text": self.long_text,
            "default_headers": self.default_headers,
            "show_progress": self.show_progress_bar,
        }


class LocalSettings(Settings):
    """Settings of a model in this process."""

    device: str = "auto"
    """`"auto"`, `"cpu"`, `"cuda"`, `"cuda:1"`, …"""
    dtype: str = "auto"
    """`"auto"` (bfloat16 where the hardware is fast at it, else float32), `"float32"`, `"bfloat16"`, `"float16"`."""
    revision: str | None = None
    """Commit, tag or branch of a hub model."""
    token_budget: int | None = None
    """Tokens in one forward pass; None picks by device."""

    def _local(self) -> dict[str, Any]:
        """Return the arguments that local embedders and rerankers share."""
        return {
            "device": self.device,
            "dtype": self.dtype,
            "revision": self.revision,
            "profile": self.profile,
            "token_budget": self.token_budget,
            "long_text": self.long_text,
            "show_progress": self.show_progress_bar,
        }
