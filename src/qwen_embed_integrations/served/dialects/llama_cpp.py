"""llama.cpp's server, by its source of 2026.

A reranker's template is in the GGUF file, with room for query and document alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_embed_integrations.served.dialects.base import Dialect, Reranks, text, whole
from qwen_embed_integrations.served.dialects.examination import Causes, Examination, Remedies, SelfReport, Tokenize
from qwen_embed_integrations.server_info import ServerInfo

if TYPE_CHECKING:
    from qwen_embed_integrations.profiles import Pooling
    from qwen_embed_integrations.served.flow import Flow
    from qwen_embed_integrations.served.questions import Questions


def recognise(questions: Questions) -> Flow[bool]:
    """Ask whether it is llama.cpp."""
    return (yield from questions.owner()) == "llamacpp"


def describe(questions: Questions) -> Flow[ServerInfo]:
    """Ask what it runs; it does not say what for, and answers 501 where it was not started for something."""
    listed = yield from questions.listed()
    properties = yield from questions.hint("/props")
    settings = properties.get("default_generation_settings")
    return ServerInfo(
        kind="llama_cpp",
        version=text(properties.get("build_info")),
        model=text(listed.get("id")),
        max_tokens=whole(settings.get("n_ctx")) if isinstance(settings, dict) else None,
    )


def report(_questions: Questions) -> Flow[SelfReport]:
    """Tell what holds of every GGUF file, as a rule."""
    yield from ()
    return SelfReport(quantization="GGUF")


def start_embedder(_model: str, pooling: Pooling | None) -> str:
    """Return the command that serves an embedding model, which is a file here."""
    command = "llama-server -m MODEL.gguf --embeddings"
    return command if pooling is None else f"{command} --pooling {pooling}"


DIALECT = Dialect(
    name="llama_cpp",
    title="llama.cpp",
    recognise=recognise,
    describe=describe,
    reranks=Reranks(),
    examination=Examination(report=report, tokenize=Tokenize(text_field="content", special_field="add_special")),
    causes=Causes(dimensions_ignored="llama.cpp does not know the field."),
    remedies=Remedies(start_embedder=start_embedder),
)
