"""The architectures of transformers that run packed, and what is known of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Family:
    """Models that share transformers' code.

    Position ids are an argument, all attention goes through transformers' attention interface, and nothing else mixes
    tokens; else sequences could not be laid end to end.

    Attributes:
        prefix: What the names of its classes begin with.
        layers: Whose layers its own are like, name by name; None where that is not known.
        causal: Whether tokens read nothing behind them.
        behind_padding: Whether position ids begin behind the padding id.
    """

    prefix: str
    layers: Literal["bert", "qwen"] | None = None
    causal: bool = False
    behind_padding: bool = False


# By `model_type`. Any other family runs padded.
FAMILIES = {
    "bert": Family("Bert", "bert"),
    "camembert": Family("Camembert", "bert", behind_padding=True),
    "roberta": Family("Roberta", "bert", behind_padding=True),
    "xlm-roberta": Family("XLMRoberta", "bert", behind_padding=True),
    "qwen2": Family("Qwen2", "qwen", causal=True),
    "qwen3": Family("Qwen3", "qwen", causal=True),
}


def family_of(config: dict[str, Any]) -> Family | None:
    """Return the family of a model that can run packed, or None: some settings rule it out."""
    family = FAMILIES.get(str(config.get("model_type")))
    sliding = config.get("use_sliding_window") or "sliding_attention" in (config.get("layer_types") or ())
    relative = config.get("position_embedding_type", "absolute") != "absolute"
    forward = config.get("is_causal") and family is not None and not family.causal
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    # Their angles depend on the longest sequence that a model has met.
    growing = {rope.get("rope_type"), rope.get("type")} & {"dynamic", "longrope"}
    return None if sliding or relative or forward or growing else family


def first_position(model_type: str, pad: int | None) -> int:
    """Return the position id of a sequence's first token, given the token id of padding."""
    family = FAMILIES.get(model_type)
    return (pad or 0) + 1 if family and family.behind_padding else 0
