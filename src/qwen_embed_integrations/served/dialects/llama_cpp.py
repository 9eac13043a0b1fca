"""llama.cpp's server, by its source of 2026.

A reranker's template is in the GGUF file, with room for query and document alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_embed_integrations.served.dialects.base import Dialect, Reranks, text, whole
from qwen_embed_integrations.server_info import ServerInfo

if TYPE_CHECKING:
    from qwen_embed_integrations.served.flow import Flow
    from qwen_embed_integrations.served.questions import Questions


def recognise(questions: Questions) -> Flow[bool]:
    """Ask whether it is llama.cpp."""
    return (yield from questions.owner()) == "llamacpp"


def describe(questions: Questions) -> Flow[ServerInfo]:
    """Ask what it runs; it does not say what for, and answers 501 where it was not started for something."""
    listed = yield from questions.listed()
    said = yield from questions.hint("/props")
    settings = said.get("default_generation_settings")
    return ServerInfo(
        kind="llama_cpp",
        version=text(said.get("build_info")),
        model=text(listed.get("id")),
        max_tokens=whole(settings.get("n_ctx")) if isinstance(settings, dict) else None,
    )


DIALECT = Dialect(
    name="llama_cpp",
    title="llama.cpp",
    recognise=recognise,
    describe=describe,
    reranks=Reranks(),
)
