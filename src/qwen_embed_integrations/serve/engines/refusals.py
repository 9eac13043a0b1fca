"""What an engine cannot serve, and what to use instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_embed_integrations.errors import InvalidInputError

if TYPE_CHECKING:
    from qwen_embed_integrations.serve.target import Target

_VLLM_ARCHITECTURES = {"bert", "embeddinggemma", "modernbert", "qwen2", "roberta", "xlm-roberta"}


def unservable(target: Target, why: str) -> InvalidInputError:
    """Build the error for a model that an engine cannot serve, with what can.

    Args:
        target: What was to be served.
        why: The reason, without a full stop.

    Returns:
        An error to raise.
    """
    local = target.local_classes
    if target.architecture == "jina_bert":
        use = f"text-embeddings-inference serves it: text-embeddings-router --model-id {target.model}"
        use += f". Or run it in this process: {local}" if local else ""
    elif target.architecture in _VLLM_ARCHITECTURES and target.class_name != "Contriever":
        use = "Use --engine vllm" + (f", or run it in this process: {local}" if local else "")
    else:
        use = f"Run it in this process: {local}" if local else "`qwen-embed models` lists what can be served"
    return InvalidInputError(f"`model` {target.model}: {why}. {use}.", parameter="model")
