from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import recorded
from qwen_embed_integrations import ServerInfo
from qwen_embed_integrations.errors import (
    EndpointNotFoundError,
    InvalidInputError,
    ServerBusyError,
    WrongServerError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import loopback
    from qwen_embed_integrations import Embedder, Reranker
    from recorded import Replay


def test_it_is_asked_what_the_model_is_for(replay: Replay, recognised: Callable[..., ServerInfo]) -> None:
    replay("ollama", "show")
    assert recognised("nomic-embed-text:latest") == ServerInfo(
        kind="ollama", version="0.12.6", task="embed", model="nomic-embed-text:latest", max_tokens=2048
    )


def test_before_it_told_what_models_are_for_it_is_recognised_too(
    replay: Replay, recognised: Callable[..., ServerInfo]
) -> None:
    replay("ollama")
    assert recognised("x") == ServerInfo(kind="ollama", version="0.12.6", model="x")


@pytest.mark.parametrize("dialect", ["auto", "ollama"])
def test_it_gets_openais_embedding_request(embeds_as_recorded: Callable[..., None], dialect: str) -> None:
    embeds_as_recorded("ollama", dialect=dialect)


def test_its_word_for_busy_is_understood(replay: Replay, embedder: Callable[..., Embedder]) -> None:
    replay("ollama", "busy")
    with pytest.raises(ServerBusyError, match="maximum pending"):
        embedder().embed_documents(recorded.TEXTS)


def test_a_model_that_it_lacks_is_a_404_with_its_words(replay: Replay, embedder: Callable[..., Embedder]) -> None:
    replay("ollama", "missing")
    with pytest.raises(EndpointNotFoundError, match="try pulling it first"):
        embedder("x").embed_documents(recorded.TEXTS)


def test_it_is_refused_for_reranking_before_it_is_asked_to(
    replay: Replay, server: loopback.Server, reranker: Callable[..., Reranker]
) -> None:
    replay("ollama")
    with pytest.raises(WrongServerError, match=r"is Ollama, which does not rerank.*SGLang, vLLM or llama.cpp"):
        reranker().rerank("q", ["a"])
    assert server.posted("rerank") == []
    with pytest.raises(InvalidInputError, match="`dialect` names Ollama") as caught:
        reranker(dialect="ollama")
    assert caught.value.parameter == "dialect"
