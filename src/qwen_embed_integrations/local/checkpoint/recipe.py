"""A sentence-transformers folder read into a profile: pooling, prompts, lengths, dense layers."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from qwen_embed_integrations.errors import ModelLoadError, UnknownModelError
from qwen_embed_integrations.local.checkpoint.files import READER_FILES
from qwen_embed_integrations.profiles import ModelProfile, Pooling, RerankProfile, profile_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles

_POOLINGS: dict[str, Pooling] = {
    "cls": "cls",
    "mean": "mean",
    "lasttoken": "last",
    # The keys sentence-transformers wrote before 5.
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
}
# The form of Qwen3 and E5, which differ in the blank at the end.
_INSTRUCT = re.compile(r"(Instruct: )(.*)(\nQuery:\s*)", re.DOTALL)


@dataclass(frozen=True)
class Recipe:
    """How token vectors become text vectors.

    Attributes:
        profile: What the model wants; `pooling` and `dimensions` are set.
        lower_case: Whether texts are lower-cased first.
        steps: What follows pooling, in order: folders of dense layers, and None for bringing to length 1.
    """

    profile: ModelProfile
    lower_case: bool = False
    steps: Sequence[str | None] = ()


def read_recipe(files: CheckpointFiles, profile: ModelProfile | None) -> Recipe:
    """Find out how a checkpoint is meant to be used.

    The folder's own sentence-transformers files are followed, completed by the profile of that name where their sizes
    agree; a folder without such files needs a known name. What an explicit profile states wins over both.

    Args:
        files: The checkpoint.
        profile: What the caller knows better.

    Raises:
        ModelLoadError: If the files name something that is not supported, or nothing says how to pool.
    """
    size = files.config.get("hidden_size")
    known = profile or _known(files, size)
    modules = files.read_json("modules.json")
    if modules is not None:
        read = _from_modules(files, modules, known)
        return read if profile is None else replace(read, profile=_overridden(read.profile, profile))
    if known is None or known.pooling is None:
        raise ModelLoadError(
            f"`model` {files.name!r} has no modules.json and no known name, so nothing says how to pool. Pass "
            "profile=ModelProfile(name=..., pooling='mean', ...)."
        )
    return Recipe(replace(known, dimensions=known.dimensions or size))


def _overridden(read: ModelProfile, given: ModelProfile) -> ModelProfile:
    """Return the caller's profile, with what it leaves open taken from the folder."""
    return replace(
        given,
        pooling=given.pooling or read.pooling,
        dimensions=given.dimensions or read.dimensions,
        max_tokens=given.max_tokens or read.max_tokens,
        architecture=given.architecture or read.architecture,
    )


def _known(files: CheckpointFiles, size: int | None) -> ModelProfile | None:
    try:
        profile = profile_for(files.name)
    except UnknownModelError:
        return None
    if isinstance(profile, RerankProfile):
        raise ModelLoadError(f"`model` {files.name!r} is a reranker; use Reranker.local.")
    # A small or fine-tuned model may sit in a folder of the same name.
    return profile if profile.dimensions == size else None


def _from_modules(files: CheckpointFiles, modules: Sequence[dict[str, Any]], known: ModelProfile | None) -> Recipe:
    pooling: Pooling | None = None
    steps: list[str | None] = []
    size = files.config.get("hidden_size")
    for module in modules:
        kind, path = str(module.get("type", "")).rpartition(".")[2], str(module.get("path", ""))
        settings = files.read_json(f"{path}/config.json") if path else None
        if kind == "Transformer" and not path:
            continue
        if kind == "Pooling":
            pooling = _pooling(files, settings or {})
        elif kind == "Normalize":
            steps.append(None)
        elif kind == "Dense" and isinstance(settings, dict):
            steps.append(path)
            size = settings.get("out_features", size)
        else:
            raise ModelLoadError(
                f"`model` {files.name!r} has a {kind or 'nameless'} module at {path!r}, which is not supported; "
                "Transformer (at the root), Pooling, Dense and Normalize are."
            )
    if pooling is None:
        raise ModelLoadError(f"`model` {files.name!r} has a modules.json without pooling; is it a reranker?")
    reader: dict[str, Any] = next(filter(None, map(files.read_json, READER_FILES)), {})
    defaults = files.read_json("config_sentence_transformers.json") or {}
    base = known or ModelProfile(name=files.name, min_dimensions=1)
    profile = replace(
        base,
        dimensions=defaults.get("truncate_dim") or size,
        pooling=pooling,
        normalize=None in steps,
        max_tokens=reader.get("max_seq_length") or base.max_tokens,
        architecture=base.architecture or files.model_type,
    )
    return Recipe(_with_prompts(files, profile), bool(reader.get("do_lower_case")), steps)


def _pooling(files: CheckpointFiles, settings: dict[str, Any]) -> Pooling:
    mode = settings.get("pooling_mode")
    modes = [mode] if isinstance(mode, str) else list(mode or ())
    modes += [key for key, on in settings.items() if key.startswith("pooling_mode_") and on is True]
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise ModelLoadError(
            f"`model` {files.name!r} pools by {', '.join(modes) or 'nothing'}, which is not supported; cls, mean and "
            "lasttoken are."
        )
    if settings.get("include_prompt") is False:
        raise ModelLoadError(f"`model` {files.name!r} leaves the prompt out of pooling, which is not supported.")
    return _POOLINGS[modes[0]]


def _with_prompts(files: CheckpointFiles, profile: ModelProfile) -> ModelProfile:
    prompts = (files.read_json("config_sentence_transformers.json") or {}).get("prompts") or {}
    query = prompts.get("query") or ""
    # The names sentence-transformers' encode_document looks for, in its order.
    document = next((prompts[name] for name in ("document", "passage", "corpus") if name in prompts), "")
    if not prompts or (query == profile.prefix("query") and document == profile.document_prefix):
        return profile
    instruct = _INSTRUCT.fullmatch(query)
    return replace(
        profile,
        # Any other prompt is a fixed part of the model: there is no telling where an instruction would go.
        query_prefix="{1}{{instruction}}{3}".format(*instruct.group(0, 1, 2, 3)) if instruct else query,
        default_instruction=instruct[2] if instruct else None,
        document_prefix=document,
    )
