"""What is this server? Asked with the first use, since SGLang answers the wrong question with nonsense."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_embed_integrations.served.dialects import DIALECTS
from qwen_embed_integrations.served.questions import Questions
from qwen_embed_integrations.server_info import ServerInfo

if TYPE_CHECKING:
    from qwen_embed_integrations.served.dialects.base import Dialect
    from qwen_embed_integrations.served.flow import Flow


def probe(root_url: str, *, model: str | None = None, named: Dialect | None = None) -> Flow[ServerInfo]:
    """Ask a server what it is, each question once and briefly; one that does not say is `unknown`.

    Args:
        root_url: Address without `/v1`.
        model: The name the caller knows the model by, for servers that run several.
        named: What it is, if that is known: only its own questions are asked then.

    Returns:
        What is known of it.

    Raises:
        ServerError: If the server is busy or does not answer, which says nothing about what it is.
    """
    return (yield from identify(Questions(root_url, model=model), named))


def identify(questions: Questions, named: Dialect | None) -> Flow[ServerInfo]:
    """Ask a server what it is, where some questions may have been answered before; see `probe`."""
    if named is not None:
        return (yield from _describe(named, questions))
    for dialect in DIALECTS.values():
        if (yield from dialect.recognise(questions)):
            return (yield from _describe(dialect, questions))
    listed = yield from questions.listed()
    name = listed.get("id")
    return ServerInfo(model=name if isinstance(name, str) else None)


def _describe(dialect: Dialect, questions: Questions) -> Flow[ServerInfo]:
    if dialect.describe is None:
        return ServerInfo(kind=dialect.name)
    return (yield from dialect.describe(questions))
