"""What is to be served: which task, which architecture, which known model."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from qwen_embed_integrations.errors import InvalidInputError, ModelLoadError, UnknownModelError
from qwen_embed_integrations.profiles import ModelProfile, Pooling, RerankProfile, profile_for

Task = Literal["embed", "rerank"]

# Keys and values of 36 layers with 8 heads of 128 at two bytes: Qwen3-4B and 8B. Smaller models need less.
_KV_BYTES = 147_456


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is to be served.

    Attributes:
        model: What the engine loads: a hub id or a folder.
        task: What it is served for.
        architecture: Family, as `model_type` of its config.json names it; empty where unknown.
        profile: What it wants, where that is known.
        classifies: Whether the checkpoint has a sequence-classification head.
        pooling: How token vectors become one; None where unknown.
        context: Most tokens of one text; None where unknown.
        weights: Bytes of the weights; None where unknown.
        kv_bytes: Bytes of keys and values of one token, at most.
    """

    model: str
    task: Task
    architecture: str = ""
    profile: ModelProfile | RerankProfile | None = None
    classifies: bool = False
    pooling: Pooling | None = None
    context: int | None = None
    weights: int | None = None
    kv_bytes: int = _KV_BYTES

    @property
    def prompted(self) -> RerankProfile | None:
        """The profile of a reranker that compares two tokens after a prompt; None for anything else."""
        profile = self.profile
        if isinstance(profile, RerankProfile) and profile.method == "token_logits" and not self.classifies:
            return profile
        return None

    @property
    def can_be_cut(self) -> bool:
        """Whether vectors may be cut to fewer dimensions."""
        return isinstance(self.profile, ModelProfile) and self.profile.min_dimensions is not None


def resolve(model: str, *, task: Task | None = None, profile: str | None = None) -> Target:
    """Find out what is to be served.

    Args:
        model: A hub id, a folder, or a short name of a known model.
        task: What it is for, where its name and files do not tell.
        profile: Name of the known model that it was made from.

    Returns:
        What is known of it.

    Raises:
        InvalidInputError: If the task is missing or wrong, or the model is none that can be served here.
        ModelLoadError: If a path is no model folder.
        UnknownModelError: If `profile` is no known model.
    """
    folder = Path(model).expanduser()
    known = _known(profile or model, must=profile is not None)
    if not folder.is_dir():
        if model.startswith((".", "/", "~")) or model.count("/") > 1:
            raise ModelLoadError(f"`model` {model!r} is no folder.")
        # A short name stands for a known model; with a profile beside it, it is the name of something else.
        return _from_the_hub(known.name if known and not profile and "/" not in model else model, known, task)
    return _from_folder(Path(os.path.abspath(folder)), known, task)  # noqa: PTH100 a link's own name counts


def _known(name: str, *, must: bool) -> ModelProfile | RerankProfile | None:
    try:
        return profile_for(name)
    except UnknownModelError:
        if must:
            raise
        return None


def _from_the_hub(model: str, known: ModelProfile | RerankProfile | None, task: Task | None) -> Target:
    if "gguf" in model.lower():
        raise InvalidInputError(
            f"`model` {model!r} is packed for llama.cpp: llama-server serves it. Name the original checkpoint.",
            parameter="model",
        )
    if known is None:
        if task is None:
            raise InvalidInputError(
                f"`model` {model!r} has no profile, so its task is not known. Add `--task embed` or `--task rerank`, "
                "or `--profile NAME` with the known model it was made from (`qwen-embed models` lists them).",
                parameter="model",
            )
        return Target(model=model, task=task)
    if known.architecture is None:
        raise InvalidInputError(
            f"`model` {known.name!r} is a hosted model, whose weights nobody has: "
            "Embedder.served(..., base_url=...) reaches it where it is hosted.",
            parameter="model",
        )
    return Target(
        model=model,
        task=_agree(_task_of(known), task, known.name),
        architecture=known.architecture,
        profile=known,
        classifies=isinstance(known, RerankProfile) and known.method == "cross_encoder",
        pooling=known.pooling if isinstance(known, ModelProfile) else None,
        context=known.max_tokens,
        weights=known.parameters * 2 if known.parameters else None,
    )


def _from_folder(folder: Path, known: ModelProfile | RerankProfile | None, task: Task | None) -> Target:
    config = _read(folder / "config.json")
    if not isinstance(config, dict):
        raise ModelLoadError(f"`model` {str(folder)!r} has no config.json; pass a folder with a checkpoint in it.")
    architecture = str((config.get("architectures") or [""])[0])
    family = str(config.get("model_type", ""))
    if config.get("position_embedding_type") == "alibi":
        family = "jina_bert"  # its config says "bert"
    pooled = _pooling(folder)
    found = _task_of(known) if known else _task_of_files(folder, architecture)
    if found is None and task is None:
        raise InvalidInputError(
            f"`model` {str(folder)!r} is a {architecture or 'nameless architecture'} that may embed or rerank. Add "
            "`--task embed` or `--task rerank`, or `--profile NAME` with the known model it was made from.",
            parameter="model",
        )
    chosen = _agree(found, task, str(folder)) if found else task
    if chosen == "rerank" and known is None and architecture == "Qwen3ForCausalLM":
        known = profile_for("Qwen/Qwen3-Reranker-0.6B")  # all sizes have its prompt
    if chosen == "rerank" and known is None and architecture.endswith("ForCausalLM"):
        raise InvalidInputError(
            f"`model` {str(folder)!r} is a {architecture}, which scores by what it answers to a prompt, and its prompt "
            "is not known. Add `--profile NAME` with the known reranker it was made from.",
            parameter="model",
        )
    return Target(
        model=str(folder),
        task=chosen or "embed",
        architecture=family,
        profile=known,
        classifies=architecture.endswith("ForSequenceClassification"),
        pooling=pooled or (known.pooling if isinstance(known, ModelProfile) else None),
        context=(known and known.max_tokens) or config.get("max_position_embeddings"),
        weights=sum(file.stat().st_size for file in folder.glob("*.safetensors")) or None,
        kv_bytes=_kv_bytes(config),
    )


def _task_of(profile: ModelProfile | RerankProfile) -> Task:
    return "embed" if isinstance(profile, ModelProfile) else "rerank"


def _task_of_files(folder: Path, architecture: str) -> Task | None:
    if _pooling(folder) is not None:
        return "embed"
    if any(str(module.get("type", "")).endswith("LogitScore") for module in _modules(folder)):
        return "rerank"
    if architecture.endswith("ForSequenceClassification"):
        return "rerank"
    if architecture.endswith("Model"):
        return "embed"
    # A reranker's prompt ends where its answer begins; only an embedder ends each text with a token of its own.
    return "embed" if _ends_each_text(folder) else None


def _agree(found: Task, wanted: Task | None, name: str) -> Task:
    if wanted is not None and wanted != found:
        raise InvalidInputError(
            f"`task` is {wanted!r}, but {name} is made to {found}. Leave `--task` out, or pick another model.",
            parameter="task",
        )
    return found


def _modules(folder: Path) -> list[dict[str, Any]]:
    read = _read(folder / "modules.json")
    return [module for module in read if isinstance(module, dict)] if isinstance(read, list) else []


def _pooling(folder: Path) -> Pooling | None:
    """Return the pooling that sentence-transformers' files ask for."""
    for module in _modules(folder):
        if str(module.get("type", "")).endswith("Pooling"):
            settings = _read(folder / str(module.get("path", "")) / "config.json") or {}
            asked: dict[str, Pooling] = {
                "pooling_mode_lasttoken": "last",
                "pooling_mode_cls_token": "cls",
                "pooling_mode_mean_tokens": "mean",
            }
            named = settings.get("pooling_mode")
            chosen = [mode for key, mode in asked.items() if settings.get(key) or named in {mode, f"{mode}token"}]
            return chosen[0] if len(chosen) == 1 else None
    return None


def _ends_each_text(folder: Path) -> bool:
    tokenizer = _read(folder / "tokenizer.json")
    processor = (tokenizer.get("post_processor") if isinstance(tokenizer, dict) else None) or {}
    for each in (processor, *processor.get("processors", ())):
        if each.get("type") == "TemplateProcessing" and each.get("single"):
            return "SpecialToken" in each["single"][-1]
    return False


def _kv_bytes(config: dict[str, Any]) -> int:
    layers, heads = config.get("num_hidden_layers"), config.get("num_attention_heads")
    hidden, kv_heads = config.get("hidden_size"), config.get("num_key_value_heads") or heads
    size = config.get("head_dim") or (hidden // heads if hidden and heads else 0)
    return int(2 * layers * kv_heads * size * 2) if layers and kv_heads and size else _KV_BYTES


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
