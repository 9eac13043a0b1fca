from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qwen_embed_integrations.errors import InvalidInputError, ServerAuthenticationError

if TYPE_CHECKING:
    from collections.abc import Callable

    import loopback
    from qwen_embed_integrations import Reranker
    from recorded import Replay

    AtHost = Callable[[str], str]
    Check = Callable[..., None]

HOST = "api.jina.ai"


def test_it_gets_its_embedding_request_and_no_question(
    embeds_as_recorded: Check, server: loopback.Server, at_host: AtHost
) -> None:
    embeds_as_recorded("jina", base_url=f"{at_host(HOST)}/v1")
    assert len(server.requests) == 1


def test_it_gets_its_rerank_request_and_no_question(
    reranks_as_recorded: Check, server: loopback.Server, at_host: AtHost
) -> None:
    reranks_as_recorded("jina", base_url=at_host(HOST))
    assert len(server.requests) == 1


def test_behind_another_name_it_can_be_named(embeds_as_recorded: Check, server: loopback.Server) -> None:
    embeds_as_recorded("jina", dialect="jina")
    assert len(server.requests) == 1


def test_its_words_for_a_wrong_key_are_shown(replay: Replay, reranker: Callable[..., Reranker]) -> None:
    replay("jina", "unauthorized")
    with pytest.raises(ServerAuthenticationError, match=r"Invalid API key.*Check `api_key`"):
        reranker(dialect="jina", api_key="wrong").rerank("q", ["a"])


def test_an_instruction_is_refused_before_anything_is_sent(
    server: loopback.Server, at_host: AtHost, reranker: Callable[..., Reranker]
) -> None:
    with pytest.raises(InvalidInputError, match="the server puts one of its own"):
        reranker(base_url=at_host(HOST)).rerank("q", ["a"], instruction="Find pets")
    assert server.requests == []
