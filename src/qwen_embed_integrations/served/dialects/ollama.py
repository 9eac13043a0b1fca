"""Ollama, by its source at fb30760 (August 2026). It embeds and does not rerank."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_embed_integrations.served.dialects.base import Dialect, text, whole
from qwen_embed_integrations.served.dialects.examination import Examination, SelfReport
from qwen_embed_integrations.server_info import ServerInfo

if TYPE_CHECKING:
    from qwen_embed_integrations.served.flow import Flow
    from qwen_embed_integrations.served.questions import Questions


def recognise(questions: Questions) -> Flow[bool]:
    """Ask whether it is Ollama, whose models belong to whoever published them."""
    if (yield from questions.owner()) is None:
        return False
    return text((yield from questions.ask("/api/version")).get("version")) is not None


def describe(questions: Questions) -> Flow[ServerInfo]:
    """Ask what the model is."""
    version = text((yield from questions.ask("/api/version")).get("version"))
    model = questions.model or text((yield from questions.listed()).get("id"))
    details = (yield from questions.hint("/api/show", {"model": model})) if model else {}
    abilities, facts = details.get("capabilities"), details.get("model_info")
    lengths = [facts[name] for name in facts if name.endswith(".context_length")] if isinstance(facts, dict) else []
    return ServerInfo(
        kind="ollama",
        version=version,
        task="embed" if isinstance(abilities, list) and "embedding" in abilities else None,
        model=model,
        max_tokens=whole(lengths[0]) if lengths else None,
    )


def report(_questions: Questions) -> Flow[SelfReport]:
    """Tell what holds of every GGUF file, as a rule."""
    yield from ()
    return SelfReport(quantization="GGUF")


DIALECT = Dialect(
    name="ollama",
    title="Ollama",
    recognise=recognise,
    describe=describe,
    advice={"rerank": "Serve the reranker with SGLang, vLLM or llama.cpp."},
    examination=Examination(report=report),
)
