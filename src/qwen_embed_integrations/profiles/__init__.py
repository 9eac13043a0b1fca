"""What each model wants: prompts, pooling, dimensions, limits."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from qwen_embed_integrations.errors import UnknownModelError
from qwen_embed_integrations.profiles import hosted, jina, mixedbread, qwen3
from qwen_embed_integrations.profiles.types import ModelProfile, Pooling, RerankProfile, Role

if TYPE_CHECKING:
    from collections.abc import Iterator

PROFILES: tuple[ModelProfile | RerankProfile, ...] = (
    *qwen3.PROFILES,
    *mixedbread.PROFILES,
    *jina.PROFILES,
    *hosted.PROFILES,
)


def _keys(profile: ModelProfile | RerankProfile) -> list[str]:
    return [name.lower() for name in (profile.name, profile.name.rpartition("/")[2], *profile.aliases)]


_BY_NAME = {key: profile for profile in PROFILES for key in _keys(profile)}


# How the hub's cache names the folder of a model: models--Qwen--Qwen3-Embedding-0.6B/snapshots/<commit>.
_HUB_CACHE = re.compile(r"models--([^/]+)/snapshots/[^/]+$")
# Other packings of the same weights want the same prompts.
_PACKING = re.compile(
    r"([-:.](latest|gguf|mlx|awq|gptq|fp16|bf16|f16|f32|(nv|mx)?fp[48]|int[48]|w\d+a\d+|[48]bit|dwq|i?q[2-8](_[a-z0-9]+)*))+$"
)


def _spellings(model: str) -> Iterator[str]:
    # ModelScope's cache writes a dot as three underscores.
    path = model.lower().replace("\\", "/").replace("___", ".").rstrip("/")
    cached = _HUB_CACHE.search(path)
    name = cached[1].replace("--", "/", 1) if cached else path
    for spelling in (name, name.rpartition("/")[2]):
        yield spelling
        yield _PACKING.sub("", spelling)


def profile_for(model: str) -> ModelProfile | RerankProfile:
    """Return the profile of a known model.

    Args:
        model: A hub id, its last part, or an alias, in any case: `Qwen/Qwen3-Embedding-0.6B`,
            `qwen3-embedding-0.6b`, `qwen3-embedding:0.6b`. A path counts by its last part, a folder of the hub's
            cache by the model it holds, and a quantized copy by what it was made from (`…-GGUF`, `…:0.6b-q8_0`).

    Returns:
        The profile, of an embedding model or of a reranker.

    Raises:
        UnknownModelError: If no profile has that name; names close ones.
    """
    spellings = list(_spellings(model))
    for key in spellings:
        if key in _BY_NAME:
            return _BY_NAME[key]
    close = get_close_matches(spellings[-1], _BY_NAME, n=9, cutoff=0.75)
    names = list(dict.fromkeys(_BY_NAME[key].name for key in close))[:3]
    hint = f" Did you mean {' or '.join(names)}?" if names else " `qwen-embed models` lists the known ones."
    raise UnknownModelError(f"`model` {model!r} has no profile.{hint}")


__all__ = ["PROFILES", "ModelProfile", "Pooling", "RerankProfile", "Role", "profile_for"]
