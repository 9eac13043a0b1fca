"""Commands that start a server rightly."""

from __future__ import annotations

import shlex
from importlib import resources
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from qwen_embed_integrations.errors import UnknownModelError
from qwen_embed_integrations.profiles import profile_for

if TYPE_CHECKING:
    from qwen_embed_integrations.doctor.server import Examination

MATRYOSHKA = """'{"is_matryoshka": true}'"""
_VLLM_RERANKER = (
    """'{"architectures": ["Qwen3ForSequenceClassification"], "classifier_from_token": ["no", "yes"], """
    """"is_original_qwen3_reranker": true}'"""
)


def serve(exam: Examination, task: str) -> str:
    """Return this package's own command for the model."""
    engine = " --engine vllm" if exam.kind == "vllm" else ""
    return f"qwen-embed serve {_model(exam)}{_described(exam, task)}{engine}{_port(exam)}"


def embedder(exam: Examination) -> str:
    """Return the commands for an embedding model: this package's, and the engine's own."""
    if exam.kind == "sglang":
        own = f"sglang serve --model-path {_model(exam)} --is-embedding --json-model-override-args {MATRYOSHKA}"
    elif exam.kind == "vllm":
        own = f"vllm serve {_model(exam)} --runner pooling --convert embed --hf-overrides {MATRYOSHKA}"
    else:
        return serve(exam, "embed")
    return f"{serve(exam, 'embed')}\n{own}{_port(exam)}"


def reranker(exam: Examination) -> str:
    """Return the commands for Qwen3-Reranker: this package's, and the engine's own."""
    template = shlex.quote(
        str(resources.files("qwen_embed_integrations") / "serve" / "templates" / "qwen3_reranker.jinja")
    )
    if exam.kind in {"sglang", "sglang_router"}:
        own = f"sglang serve --model-path {_model(exam)} --chat-template {template}"
    elif exam.kind == "vllm":
        own = f"vllm serve {_model(exam)} --runner pooling --hf-overrides {_VLLM_RERANKER} --chat-template {template}"
    else:
        return serve(exam, "rerank")
    return f"{serve(exam, 'rerank')}\n{own}{_port(exam)}"


def _described(exam: Examination, task: str) -> str:
    """Return what has to be said of a model whose name does not tell."""
    if _is_known(_started_as(exam)):
        return ""
    if exam.profile is not None:
        return f" --profile {exam.profile.name}"
    return f" --task {task}{' --profile Qwen/Qwen3-Reranker-0.6B' if task == 'rerank' else ''}"


def _model(exam: Examination) -> str:
    return shlex.quote(_started_as(exam) or (exam.profile.name if exam.profile else exam.model))


def _started_as(exam: Examination) -> str | None:
    # vLLM's name for a model may be an alias, which starts nothing; that of a known model starts the right one.
    return exam.server.model if _is_known(exam.server.model) else exam.facts.root or exam.server.model


def _is_known(model: str | None) -> bool:
    try:
        profile_for(model or "")
    except UnknownModelError:
        return False
    return True


def _port(exam: Examination) -> str:
    parts = urlsplit(exam.root_url)
    # On another host the port may be a proxy's.
    return f" --port {parts.port}" if parts.port and parts.hostname in {"localhost", "127.0.0.1", "::1"} else ""
