"""What cannot be served, and what to use instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_embed_integrations.errors import InvalidInputError

if TYPE_CHECKING:
    from qwen_embed_integrations.serve.target import Target

_BY_VLLM = {"bert", "embeddinggemma", "modernbert", "qwen2", "roberta", "xlm-roberta"}


def in_process(target: Target) -> str | None:
    """Name the classes that run a model in this process; None where this version has none for it."""
    if target.task == "rerank":
        if target.architecture == "jina_bert":
            return None
        return "Reranker.local, or LocalRerank for LangChain and LlamaIndex"
    return "Embedder.local, LocalEmbeddings (LangChain) or LocalEmbedding (LlamaIndex)"


def elsewhere(target: Target, why: str) -> InvalidInputError:
    """Say that an engine cannot serve a model, and what can.

    Args:
        target: What was to be served.
        why: The reason, without a full stop.

    Returns:
        An error to raise.
    """
    local = in_process(target)
    if target.architecture == "jina_bert":
        use = f"text-embeddings-inference serves it: text-embeddings-router --model-id {target.model}"
        use += f". Or run it in this process: {local}" if local else ""
    elif target.architecture in _BY_VLLM and target.class_name != "Contriever":
        use = "Use --engine vllm" + (f", or run it in this process: {local}" if local else "")
    else:
        use = f"Run it in this process: {local}" if local else "`qwen-embed models` lists what can be served"
    return InvalidInputError(f"`model` {target.model}: {why}. {use}.", parameter="model")
