"""Warnings about what had to be assumed of a model that is not known here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_embed_integrations.serve.engines.installed import TITLES
from qwen_embed_integrations.serve.engines.sglang import pools_by

if TYPE_CHECKING:
    from qwen_embed_integrations.serve.engines.installed import EngineName
    from qwen_embed_integrations.serve.target import Target

_TOKEN_NAMES = {"cls": "the first token", "last": "the last token", "mean": "the mean of all tokens"}


def assumption_warning(target: Target, engine: EngineName, url: str) -> str | None:
    """Return a warning that names what was assumed of a model, in one line.

    Args:
        target: What is served.
        engine: What serves it.
        url: Where it will answer.

    Returns:
        The warning, with the command that checks it; None where nothing had to be assumed.
    """
    if target.profile is not None or target.pooling is not None:
        return None
    if target.task == "embed":
        check = f"Compare its vectors: qwen-embed doctor {url} --reference {target.model}"
        return f"the pooling and the prompt of {target.model} are not known here; {_pooling(target, engine)}. {check}"
    if target.architecture:
        return None
    return (
        f"{target.model} is not known here and taken for a cross-encoder with a classification head; a reranker that "
        f"answers a prompt needs --profile. Check its scores: qwen-embed doctor {url}"
    )


def _pooling(target: Target, engine: EngineName) -> str:
    title = TITLES[engine]
    if engine == "vllm":
        return f"{title} pools by the model's own modules.json, and by its class where there is none"
    if target.class_name:
        return f"{title} takes {_TOKEN_NAMES[pools_by(target)]}"
    return (
        f"{title} takes the first token of BERT and XLM-R and the last token of nearly all else, whatever the model "
        "wants"
    )
