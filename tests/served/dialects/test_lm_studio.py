from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qwen_embed_integrations import ServerInfo
from qwen_embed_integrations.errors import InvalidInputError, WrongServerError

if TYPE_CHECKING:
    from collections.abc import Callable

    import loopback
    from qwen_embed_integrations import Reranker
    from recorded import Replay

MODEL = "text-embedding-nomic-embed-text-v1.5"


def test_it_says_what_the_model_is(replay: Replay, recognised: Callable[..., ServerInfo]) -> None:
    replay("lm_studio")
    assert recognised(MODEL) == ServerInfo(kind="lm_studio", task="embed", model=MODEL, max_tokens=2048)


@pytest.mark.parametrize("dialect", ["auto", "lm_studio"])
def test_it_gets_openais_embedding_request(embeds_as_recorded: Callable[..., None], dialect: str) -> None:
    embeds_as_recorded("lm_studio", dialect=dialect)


def test_it_is_refused_for_reranking_before_it_is_asked_to(
    replay: Replay, server: loopback.Server, reranker: Callable[..., Reranker]
) -> None:
    replay("lm_studio")
    with pytest.raises(WrongServerError, match=r"is LM Studio, which does not rerank.*SGLang, vLLM or llama.cpp"):
        reranker().rerank("q", ["a"])
    assert server.posted("rerank") == []
    with pytest.raises(InvalidInputError, match="`dialect` names LM Studio"):
        reranker(dialect="lm_studio")
