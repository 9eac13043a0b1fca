from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import loopback
import recorded
from qwen_embed_integrations import ServerInfo
from qwen_embed_integrations.errors import RequestRefusedError, ServerBusyError, WrongServerError
from qwen_embed_integrations.served.dialects.tei import DIALECT, read_tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_embed_integrations import Embedder, Reranker
    from qwen_embed_integrations.errors import TextTooLongError
    from recorded import Replay

    Check = Callable[..., None]
    Make = Callable[..., Embedder]
    MakeReranker = Callable[..., Reranker]


@pytest.mark.parametrize(
    ("recording", "expected"),
    [
        (
            "tei_embedding",
            ServerInfo(
                kind="tei",
                version="1.9.3",
                task="embed",
                model="BAAI/bge-base-en-v1.5",
                max_batch=32,
                max_tokens=512,
                pooling="cls",
            ),
        ),
        (
            "tei_reranker",
            ServerInfo(
                kind="tei", version="1.9.3", task="rerank", model="BAAI/bge-reranker-base", max_batch=32, max_tokens=512
            ),
        ),
    ],
)
def test_it_says_what_it_runs_within_which_limits(
    replay: Replay, recognised: Callable[..., ServerInfo], recording: str, expected: ServerInfo
) -> None:
    replay(recording)
    assert recognised() == expected


@pytest.mark.parametrize("dialect", ["auto", "tei"])
def test_it_gets_openais_embedding_request(embeds_as_recorded: Check, dialect: str) -> None:
    embeds_as_recorded("tei_embedding", dialect=dialect)


@pytest.mark.parametrize("dialect", ["auto", "tei"])
def test_it_gets_a_rerank_request_of_its_own_form(reranks_as_recorded: Check, dialect: str) -> None:
    reranks_as_recorded("tei_reranker", model="BAAI/bge-reranker-base", dialect=dialect)


def test_a_batch_is_no_larger_than_it_says_it_takes(replay: Replay, server: loopback.Server, embedder: Make) -> None:
    info = replay("tei_embedding")["info"]["response"]

    def answer(request: loopback.Request) -> loopback.Answer:
        if request.path == "/info":
            return 200, info, {}
        if not request.path.endswith("/embeddings"):
            return 404, b"", {}
        return 200, loopback.embeddings_reply(request.body["input"], size=4), {}

    server.reply(answer)
    ours = embedder("BAAI/bge-base-en-v1.5")
    ours.embed_documents(["a"])
    ours.embed_documents([f"text {number}" for number in range(64)])
    assert [len(request.body["input"]) for request in server.posted()] == [1, 32, 32]


def test_its_refusal_of_too_many_texts_is_obeyed(replay: Replay, server: loopback.Server, embedder: Make) -> None:
    refusal = replay("tei_embedding")["too_many"]
    server.reply(
        loopback.to_embeddings(
            lambda texts: (
                (refusal["status"], refusal["response"], {})
                if len(texts) > 32
                else (200, loopback.embeddings_reply(texts, size=4), {})
            )
        )
    )
    embedder(dialect="tei").embed_documents([f"text {number}" for number in range(64)])
    assert [len(request.body["input"]) for request in server.posted()] == [64, 32, 32]


def test_documents_are_sent_in_the_batches_that_it_takes(
    replay: Replay, server: loopback.Server, reranker: MakeReranker
) -> None:
    info = replay("tei_reranker")["info"]["response"]

    def answer(request: loopback.Request) -> loopback.Answer:
        if request.path == "/info":
            return 200, info, {}
        if request.path != "/rerank":
            return 404, b"", {}
        return 200, [{"index": index, "score": 0.5} for index in range(len(request.body["texts"]))], {}

    server.reply(answer)
    reranker().rerank("q", [f"text {number}" for number in range(64)])
    assert [len(request.body["texts"]) for request in server.posted()] == [32, 32]


def test_a_long_text_is_named_with_what_the_model_reads(
    refuses_long_texts: Callable[[str, ServerInfo], TextTooLongError],
) -> None:
    error = refuses_long_texts("tei_embedding", ServerInfo(kind="tei", max_tokens=512))
    assert "longer than the 512 tokens that the model reads" in str(error)
    assert error.positions == (1,)


def test_its_word_for_busy_is_understood(replay: Replay, embedder: Make) -> None:
    replay("tei_embedding", "busy")
    with pytest.raises(ServerBusyError, match="overloaded"):
        embedder().embed_documents(recorded.TEXTS)


def test_a_reranker_asked_to_embed_is_named(replay: Replay, embedder: Make) -> None:
    replay("tei_reranker", "embeddings")
    with pytest.raises(WrongServerError, match="not available for this model"):
        embedder().embed_documents(recorded.TEXTS)


def test_an_embedding_server_is_refused_for_reranking(
    replay: Replay, server: loopback.Server, reranker: MakeReranker
) -> None:
    replay("tei_embedding", "rerank")
    with pytest.raises(WrongServerError, match="runs an embedding model"):
        reranker().rerank("q", ["a"])
    assert server.posted("rerank") == []


def test_named_it_is_asked_its_own_questions_only(
    replay: Replay, server: loopback.Server, reranker: MakeReranker
) -> None:
    replay("tei_reranker", "rerank")
    reranker(dialect="tei").rerank(recorded.QUERY, recorded.DOCUMENTS)
    assert [request.path for request in server.requests] == ["/info", "/rerank"]


def test_a_refusal_that_is_about_nothing_known_stays_one(server: loopback.Server, reranker: MakeReranker) -> None:
    server.reply(lambda _: (422, {"error": "no"}, {}))
    with pytest.raises(RequestRefusedError, match="answered 422: no"):
        reranker(dialect="tei").rerank("q", ["a"])


def test_an_instruction_would_be_lost(loses_instructions: Check) -> None:
    loses_instructions(ServerInfo(kind="tei"))


def test_its_tokens_come_in_objects_in_a_list_a_text() -> None:
    assert read_tokens([[{"id": 3, "text": "a"}, {"id": 4, "text": "b"}]]) == [3, 4]
    assert read_tokens([[3]]) == [None]
    assert read_tokens([3]) is None
    assert read_tokens([]) is None
    assert read_tokens({"tokens": [3]}) is None


def test_its_command_calls_poolings_by_names_of_its_own() -> None:
    embedder = DIALECT.remedies.start_embedder
    assert embedder is not None
    assert embedder("m", "last") == "text-embeddings-router --model-id m --pooling last-token"
    assert embedder("m", "mean") == "text-embeddings-router --model-id m --pooling mean"
    assert embedder("m", None) == "text-embeddings-router --model-id m"
