from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from langchain_core.documents import Document

from qwen_embed_integrations.langchain import ServedEmbeddings, ServedRerank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loopback import Server

T = TypeVar("T", ServedEmbeddings, ServedRerank)

EMBEDDING = "Qwen/Qwen3-Embedding-0.6B"
RERANKER = "Qwen/Qwen3-Reranker-0.6B"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QWEN_EMBED_API_KEY", "QWEN_EMBED_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def served(server: Server) -> Iterator[Callable[..., ServedEmbeddings]]:
    """Make embeddings served by the loopback server."""
    with closing_all(ServedEmbeddings, model=EMBEDDING, base_url=server.base_url) as make:
        yield make


@pytest.fixture
def served_rerank(reranker_server: Server) -> Iterator[Callable[..., ServedRerank]]:
    """Make a reranker served by the loopback server, which scores by the share of the query's words found."""
    with closing_all(ServedRerank, model=RERANKER, base_url=reranker_server.base_url) as make:
        yield make


@contextmanager
def closing_all(kind: type[T], **defaults: Any) -> Iterator[Callable[..., T]]:
    made: list[T] = []

    def make(**settings: Any) -> T:
        made.append(kind(**{**defaults, **settings}))
        return made[-1]

    yield make
    for instance in made:
        instance.close()


@pytest.fixture
def documents() -> list[Document]:
    return [
        Document("Cats sleep most of the day.", metadata={"page": 1, "tags": ["pets"]}, id="a"),
        Document("Where do cats sleep at night?", metadata={"page": 2, "tags": ["pets"]}, id="b"),
        Document("The stock market fell.", metadata={"page": 3, "tags": ["money"]}, id="c"),
    ]
