"""What kind of reranker a checkpoint is, by its name and its files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qwen_embed_integrations.callers import warn_caller
from qwen_embed_integrations.errors import ModelLoadError, UnknownModelError, UnknownModelWarning
from qwen_embed_integrations.profiles import ModelProfile, RerankProfile, profile_for

if TYPE_CHECKING:
    from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles


def read_rerank_profile(files: CheckpointFiles) -> RerankProfile:
    """Return the profile of that name, or one for the checkpoint's architecture.

    Raises:
        ModelLoadError: If it is an embedding model, or no architecture that reranks.
    """
    try:
        known = profile_for(files.name)
    except UnknownModelError:
        known = None
    modules = files.read_json("modules.json") or ()
    pools = any(str(module.get("type", "")).endswith("Pooling") for module in modules)
    if isinstance(known, ModelProfile) or (known is None and pools):
        raise ModelLoadError(
            f"`model` {files.name!r} is an embedding model; use Embedder.local, or "
            "Reranker.over(Embedder.local(...)) to rerank by its vectors."
        )
    if known is not None:
        return known
    architecture = architecture_of(files)
    if architecture.startswith("Qwen3For"):
        warn_caller(
            f"`model` {files.name!r} has no profile; it is prompted as Qwen3-Reranker is. Pass `profile=` if it was "
            "trained otherwise.",
            UnknownModelWarning,
        )
        qwen3 = profile_for("Qwen/Qwen3-Reranker-0.6B")
        if isinstance(qwen3, RerankProfile):
            return replace(qwen3, name=files.name, parameters=None)
    if architecture.endswith("ForSequenceClassification"):
        return RerankProfile(name=files.name, architecture=files.model_type)
    raise ModelLoadError(
        f"`model` {files.name!r} is a {architecture or 'nameless architecture'}, which is no known reranker. Qwen3 "
        "rerankers and sequence-classification cross-encoders are; others need profile=RerankProfile(...)."
    )


def architecture_of(files: CheckpointFiles) -> str:
    """Return the class that the checkpoint was saved from, or nothing where it does not say."""
    return str((files.config.get("architectures") or [""])[0])
