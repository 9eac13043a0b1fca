"""What is to be served: which task, which architecture, which known model."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qwen_embed_integrations.errors import InvalidInputError, ModelLoadError, UnknownModelError
from qwen_embed_integrations.profiles import ModelProfile, Pooling, RerankProfile, profile_for
from qwen_embed_integrations.serve.checkpoint import KV_BYTES, Checkpoint, cached, open_checkpoint

Task = Literal["embed", "rerank"]

_LANGUAGE_MODELS = {"qwen2", "qwen3"}
# Copies whose weights are smaller than the profile's.
_QUANTIZED = re.compile(r"awq|gptq|fp[48]|int[48]|w\d+a\d+|[48]bit|bnb", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is to be served.

    Attributes:
        model: What the engine loads: a hub id or a folder.
        task: What it is served for.
        architecture: Family, as `model_type` of its config.json names it; empty where unknown.
        class_name: Class that its config.json names; empty where unknown.
        profile: What it wants, where that is known.
        classifies: Whether the checkpoint has a sequence-classification head.
        pooling: How token vectors become one; None where unknown.
        projects: Whether a dense layer follows the pooling.
        width: Size of a token's state, and so of a vector that is not projected; None where unknown.
        caches: Whether it keeps keys and values, as language models do.
        context: Most tokens of one text; None where unknown.
        weights: Bytes of the weights; None where unknown.
        kv_bytes: Bytes of keys and values of one token, at most.
    """

    model: str
    task: Task
    architecture: str = ""
    class_name: str = ""
    profile: ModelProfile | RerankProfile | None = None
    classifies: bool = False
    pooling: Pooling | None = None
    projects: bool = False
    width: int | None = None
    caches: bool = False
    context: int | None = None
    weights: int | None = None
    kv_bytes: int = KV_BYTES

    @property
    def prompted(self) -> RerankProfile | None:
        """The profile of a reranker that compares two tokens after a prompt; None for anything else."""
        profile = self.profile
        if isinstance(profile, RerankProfile) and profile.method == "token_logits" and not self.classifies:
            return profile
        return None

    @property
    def other_size(self) -> int | None:
        """Size of its vectors, where that is known and is not the profile's."""
        known = self.profile.dimensions if isinstance(self.profile, ModelProfile) else None
        return self.width if known and self.width not in {None, known} and not self.projects else None

    @property
    def local_classes(self) -> str | None:
        """Names of the classes that run it in this process; None where this version has none for it."""
        if self.task == "embed":
            return "Embedder.local, LocalEmbeddings (LangChain) or LocalEmbedding (LlamaIndex)"
        if self.architecture == "jina_bert":
            return None
        return "Reranker.local, or LocalRerank for LangChain and LlamaIndex"

    @property
    def can_be_cut(self) -> bool:
        """Whether vectors may be cut to fewer dimensions."""
        return isinstance(self.profile, ModelProfile) and self.profile.min_dimensions is not None


def resolve(model: str, *, task: Task | None = None, profile: str | None = None, revision: str | None = None) -> Target:
    """Find out what is to be served.

    Args:
        model: A hub id, a folder, or a short name of a known model.
        task: What it is for, where its name and files do not tell.
        profile: Name of the known model that it was made from.
        revision: Branch, tag or commit on the hub.

    Returns:
        What is known of it.

    Raises:
        InvalidInputError: If the task is missing or wrong, or the model is none that can be served here.
        ModelLoadError: If a path is no model folder.
        UnknownModelError: If `profile` is no known model.
    """
    folder = Path(model).expanduser()
    known = _known(profile or model, required=profile is not None)
    if folder.is_dir():
        path = os.path.abspath(folder)  # noqa: PTH100 a link's own name counts
        checkpoint = open_checkpoint(Path(path))
        if checkpoint is None:
            raise ModelLoadError(f"`model` {path!r} has no config.json; pass a folder with a checkpoint in it.")
        return _from_files(path, checkpoint, known, task)
    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise ModelLoadError(f"`model` {model!r} is no folder.")
    # A short name stands for a known model; with a profile beside it, it is the name of something else.
    name = known.name if known and not profile and "/" not in model else model
    if "gguf" in name.lower():
        raise InvalidInputError(
            f"`model` {model!r} is packed for llama.cpp: llama-server serves it. Name the original checkpoint.",
            parameter="model",
        )
    if known is not None and known.architecture is None:
        raise InvalidInputError(
            f"`model` {known.name!r} is a hosted model, whose weights nobody has: "
            "Embedder.served(..., base_url=...) reaches it where it is hosted.",
            parameter="model",
        )
    # The known model itself needs no look at its files, so that its command is the same on every machine.
    checkpoint = None if known is not None and known.name == name else cached(name, revision)
    if checkpoint is not None:
        return _from_files(name, checkpoint, known, task)
    return _from_the_hub(name, known, task)


def _known(name: str, *, required: bool) -> ModelProfile | RerankProfile | None:
    try:
        return profile_for(name)
    except UnknownModelError:
        if required:
            raise
        return None


def _from_the_hub(model: str, known: ModelProfile | RerankProfile | None, task: Task | None) -> Target:
    if known is None:
        if task is None:
            raise InvalidInputError(
                f"`model` {model!r} has no profile, so its task is not known. Add `--task embed` or `--task rerank`, "
                "or `--profile NAME` with the known model it was made from (`qwen-embed models` lists them).",
                parameter="model",
            )
        return Target(model=model, task=task)
    return Target(
        model=model,
        task=_require_task(_task_of(known), task, known.name),
        architecture=known.architecture or "",
        profile=known,
        classifies=isinstance(known, RerankProfile) and known.method == "cross_encoder",
        pooling=known.pooling if isinstance(known, ModelProfile) else None,
        caches=known.architecture in _LANGUAGE_MODELS,
        context=known.max_tokens,
        weights=known.parameters * 2 if known.parameters and not _QUANTIZED.search(model) else None,
    )


def _from_files(model: str, files: Checkpoint, known: ModelProfile | RerankProfile | None, task: Task | None) -> Target:
    known_task = _task_of(known) if known else _task_of_files(files)
    if known_task is None and task is None:
        raise InvalidInputError(
            f"`model` {model!r} is a {files.class_name or 'nameless architecture'} that may embed or rerank. Add "
            "`--task embed` or `--task rerank`, or `--profile NAME` with the known model it was made from.",
            parameter="model",
        )
    chosen = _require_task(known_task, task, model) if known_task else task
    if chosen == "rerank" and known is None and files.class_name == "Qwen3ForCausalLM":
        known = profile_for("Qwen/Qwen3-Reranker-0.6B")  # all sizes have its prompt
    if chosen == "rerank" and known is None and files.class_name.endswith("ForCausalLM"):
        raise InvalidInputError(
            f"`model` {model!r} is a {files.class_name}, which scores by what it answers to a prompt, and its prompt "
            "is not known. Add `--profile NAME` with the known reranker it was made from.",
            parameter="model",
        )
    lengths = [length for length in (known and known.max_tokens, files.context) if length]
    return Target(
        model=model,
        task=chosen or "embed",
        architecture=files.family,
        class_name=files.class_name,
        profile=known,
        classifies=files.class_name.endswith("ForSequenceClassification"),
        pooling=files.pooling or (known.pooling if isinstance(known, ModelProfile) else None),
        projects=files.projects,
        width=files.width,
        caches=files.caches,
        context=min(lengths, default=None),
        weights=files.weights,
        kv_bytes=files.kv_bytes,
    )


def _task_of(profile: ModelProfile | RerankProfile) -> Task:
    return "embed" if isinstance(profile, ModelProfile) else "rerank"


def _task_of_files(files: Checkpoint) -> Task | None:
    if files.pools:
        return "embed"
    if files.answers or files.class_name.endswith("ForSequenceClassification"):
        return "rerank"
    if files.class_name.endswith(("Model", "Contriever")):
        return "embed"
    # A reranker's prompt ends where its answer begins; only an embedder ends each text with a token of its own.
    return "embed" if files.ends_each_text else None


def _require_task(known: Task, chosen: Task | None, name: str) -> Task:
    if chosen is not None and chosen != known:
        raise InvalidInputError(
            f"`task` is {chosen!r}, but {name} is made to {known}. Leave `--task` out, or pick another model.",
            parameter="task",
        )
    return known
