from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qwen_embed_integrations import ServerInfo
from qwen_embed_integrations.errors import InvalidInputError, ServerBusyError

if TYPE_CHECKING:
    from collections.abc import Callable

    import loopback
    from qwen_embed_integrations import Embedder, Reranker
    from recorded import Replay

    AtHost = Callable[[str], str]
    MakeReranker = Callable[..., Reranker]

HOST = "api.cohere.com"


@pytest.mark.parametrize("path", ["", "/v1", "/v2"])
def test_it_gets_its_rerank_request_and_no_question(
    reranks_as_recorded: Callable[..., None], server: loopback.Server, at_host: AtHost, path: str
) -> None:
    reranks_as_recorded("cohere", base_url=at_host(HOST) + path)
    assert len(server.requests) == 1


def test_a_request_holds_no_more_documents_than_it_takes(server: loopback.Server, reranker: MakeReranker) -> None:
    def answer(request: loopback.Request) -> loopback.Answer:
        rows = [{"index": index, "relevance_score": 0.5} for index in range(len(request.body["documents"]))]
        return 200, {"results": rows}, {}

    server.reply(answer)
    reranker(dialect="cohere", batch_size=5000).rerank("q", [f"text {number}" for number in range(1001)])
    assert sorted(len(request.body["documents"]) for request in server.posted()) == [1, 1000]


def test_its_limit_of_calls_is_busy(replay: Replay, at_host: AtHost, reranker: MakeReranker) -> None:
    replay("cohere", "busy")
    with pytest.raises(ServerBusyError, match="Trial key"):
        reranker(base_url=at_host(HOST)).rerank("q", ["a"])


def test_its_own_form_of_embedding_is_refused_at_once(embedder: Callable[..., Embedder]) -> None:
    with pytest.raises(InvalidInputError, match=r"`base_url` names Cohere's API, which does not embed.*reranking"):
        embedder("embed-v4.0", base_url="https://api.cohere.com/v2")
    with pytest.raises(InvalidInputError, match="`dialect` names Cohere's API"):
        embedder("embed-v4.0", dialect="cohere")


def test_an_instruction_would_be_lost_at_cohere(
    server: loopback.Server, at_host: AtHost, reranker: MakeReranker
) -> None:
    with pytest.raises(InvalidInputError, match="passes none on to its rerankers"):
        reranker(base_url=at_host(HOST)).rerank("q", ["a"], instruction="Find pets")
    assert server.requests == []


def test_other_servers_of_its_form_get_an_instruction_under_both_names(
    sends_the_instruction_as: Callable[[ServerInfo, set[str]], None],
) -> None:
    sends_the_instruction_as(ServerInfo(kind="cohere"), {"instruct", "instruction"})
