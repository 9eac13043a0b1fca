"""What the files of a checkpoint tell about it: in a folder, or in the hub's cache on this machine."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qwen_embed_integrations.profiles import Pooling

KV_BYTES = 147_456
"""Keys and values of 36 layers with 8 heads of 128 at two bytes: Qwen3-4B and 8B. Smaller models need less."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder with a checkpoint in it.

    Attributes:
        folder: Where it is.
        config: Its config.json.
    """

    folder: Path
    config: dict[str, Any]

    @property
    def class_name(self) -> str:
        """The class it names for itself; empty where it names none."""
        return str((self.config.get("architectures") or [""])[0])

    @property
    def family(self) -> str:
        """Its `model_type`, told apart where one type is two architectures."""
        family = str(self.config.get("model_type", ""))
        if self.config.get("position_embedding_type") == "alibi":
            return "jina_bert"  # its config says "bert"
        if family == "gemma3_text" and self.config.get("use_bidirectional_attention"):
            return "embeddinggemma"
        return family

    @property
    def caches(self) -> bool:
        """Whether it reads one way and so keeps keys and values, as language models do."""
        return "num_key_value_heads" in self.config or self.class_name.endswith("ForCausalLM")

    @property
    def context(self) -> int | None:
        """Most tokens it has positions for; None where it does not say."""
        positions = self.config.get("max_position_embeddings")
        return positions if isinstance(positions, int) else None

    @property
    def width(self) -> int | None:
        """Size of a token's state; None where it does not say."""
        size = self.config.get("hidden_size")
        return size if isinstance(size, int) else None

    @property
    def weights(self) -> int | None:
        """Bytes of the weights; None where they are not here."""
        listed = _read(self.folder / "model.safetensors.index.json")
        total = (listed.get("metadata") or {}).get("total_size") if isinstance(listed, dict) else None
        if isinstance(total, int):
            return total
        return sum(file.stat().st_size for file in self.folder.glob("*.safetensors")) or None

    @property
    def kv_bytes(self) -> int:
        """Bytes of keys and values of one token at two bytes a number."""
        config = self.config
        layers, heads = config.get("num_hidden_layers"), config.get("num_attention_heads")
        hidden, kv_heads = config.get("hidden_size"), config.get("num_key_value_heads") or heads
        size = config.get("head_dim") or (hidden // heads if hidden and heads else 0)
        return int(2 * layers * kv_heads * size * 2) if layers and kv_heads and size else KV_BYTES

    @property
    def pools(self) -> bool:
        """Whether sentence-transformers' files name a pooling, of whatever kind."""
        return any(_kind(module) == "Pooling" for module in self._modules)

    @property
    def pooling(self) -> Pooling | None:
        """The pooling that sentence-transformers' files ask for; None where it is none of ours, or not given."""
        for module in self._modules:
            if _kind(module) == "Pooling":
                settings = _read(self.folder / str(module.get("path", "")) / "config.json") or {}
                modes: dict[str, Pooling] = {
                    "pooling_mode_lasttoken": "last",
                    "pooling_mode_cls_token": "cls",
                    "pooling_mode_mean_tokens": "mean",
                }
                named = settings.get("pooling_mode")
                chosen = [mode for key, mode in modes.items() if settings.get(key) or named in {mode, f"{mode}token"}]
                return chosen[0] if len(chosen) == 1 else None
        # https://github.com/facebookresearch/contriever, README.md: it comes without such files.
        return "mean" if self.class_name == "Contriever" else None

    @property
    def projects(self) -> bool:
        """Whether a dense layer follows the pooling."""
        return any(_kind(module) == "Dense" for module in self._modules)

    @property
    def answers(self) -> bool:
        """Whether sentence-transformers' files score by what it answers."""
        return any(_kind(module) == "LogitScore" for module in self._modules)

    @property
    def ends_each_text(self) -> bool:
        """Whether its tokenizer ends each text with a token of its own."""
        tokenizer = _read(self.folder / "tokenizer.json")
        processor = (tokenizer.get("post_processor") if isinstance(tokenizer, dict) else None) or {}
        for step in (processor, *processor.get("processors", ())):
            if step.get("type") == "TemplateProcessing" and step.get("single"):
                return "SpecialToken" in step["single"][-1]
        return False

    @property
    def _modules(self) -> list[dict[str, Any]]:
        modules = _read(self.folder / "modules.json")
        return [module for module in modules if isinstance(module, dict)] if isinstance(modules, list) else []


def open_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the checkpoint in a folder; None if there is no config.json in it."""
    config = _read(folder / "config.json")
    return Checkpoint(folder, config) if isinstance(config, dict) else None


def cached(model: str, revision: str | None = None) -> Checkpoint | None:
    """Return what the hub's cache on this machine has of a model; without the network.

    Args:
        model: A hub id.
        revision: Branch, tag or commit; None for the main branch.

    Returns:
        Its newest files here, or None.
    """
    # The layout that huggingface_hub documents; importing it would take half a second.
    folder = _hub_cache() / f"models--{model.replace('/', '--')}"
    name = revision or "main"
    try:
        commit = (folder / "refs" / name).read_text(encoding="utf-8").strip()
    except OSError:
        commit = name
    return open_checkpoint(folder / "snapshots" / commit)


def _hub_cache() -> Path:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if folder := os.environ.get(name):
            return Path(folder).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface" / "hub"


def _kind(module: dict[str, Any]) -> str:
    return str(module.get("type", "")).rpartition(".")[2]


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
