"""Servers that one runs: each is recognised, asked in its own form, and kept within its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import loopback
from qwen_embed_integrations import Embedder, Reranker, ServerInfo
from qwen_embed_integrations.errors import (
    EndpointNotFoundError,
    InvalidInputError,
    RequestRefusedError,
    ServerBusyError,
    TextTooLongError,
    WrongServerError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Recorded = dict[str, dict[str, Any]]
    Replay = Callable[..., Recorded]
    Make = Callable[..., Embedder]
    MakeReranker = Callable[..., Reranker]

TEXTS = ["Hello world!", "yes"]
VECTORS = [[0.5, 0.5, 0.5, 0.5], [0.5, -0.5, 0.5, -0.5]]
QUERY, DOCUMENTS = "search engine", ["the quick brown fox", "yes no query", "retrieval search engine"]
RANKED = [(2, 0.9), (0, 0.25), (1, 0.125)]
QWEN3 = "Qwen/Qwen3-Reranker-0.6B"


@pytest.mark.parametrize(
    ("name", "model", "expected"),
    [
        (
            "sglang_embedding",
            None,
            ServerInfo(
                kind="sglang",
                version="0.5.23",
                task="embed",
                model="tiny-qwen3",
                max_tokens=512,
                pooling="model_defined",
            ),
        ),
        (
            "sglang_reranker",
            None,
            ServerInfo(kind="sglang", version="0.5.23", task="rerank", model="tiny-qwen3-noeos", max_tokens=2048),
        ),
        (
            "sglang_old",
            None,
            ServerInfo(kind="sglang", version="0.5.4.post1", model="bge", max_batch=64, max_tokens=512),
        ),
        ("sglang_router_reranker", None, ServerInfo(kind="sglang_router", task="rerank", model="tiny-reranker")),
        (
            "vllm_embedding",
            None,
            ServerInfo(kind="vllm", version="0.32.0", task="embed", model="tiny-qwen3", max_tokens=512),
        ),
        (
            "vllm_reranker",
            None,
            ServerInfo(kind="vllm", version="0.32.0", task="rerank", model="tiny-qwen3-noeos", max_tokens=2048),
        ),
        (
            "tei_embedding",
            None,
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
            None,
            ServerInfo(
                kind="tei",
                version="1.9.3",
                task="rerank",
                model="BAAI/bge-reranker-base",
                max_batch=32,
                max_tokens=512,
            ),
        ),
        ("infinity_embedding", None, ServerInfo(kind="infinity", task="embed", model="BAAI/bge-small-en-v1.5")),
        ("infinity_reranker", None, ServerInfo(kind="infinity", task="rerank", model="BAAI/bge-reranker-base")),
        (
            "llama_cpp_embedding",
            None,
            ServerInfo(kind="llama_cpp", version="b6123-79c1160b", model="qwen3-embedding-0.6b", max_tokens=8192),
        ),
        (
            "lm_studio",
            "text-embedding-nomic-embed-text-v1.5",
            ServerInfo(kind="lm_studio", task="embed", model="text-embedding-nomic-embed-text-v1.5", max_tokens=2048),
        ),
    ],
)
def test_each_server_is_recognised_with_its_model_and_limits(
    replay: Replay, recognised: Callable[..., ServerInfo], name: str, model: str | None, expected: ServerInfo
) -> None:
    replay(name)
    assert recognised(model) == expected


def test_ollama_is_recognised_and_asked_what_the_model_is_for(
    replay: Replay, recognised: Callable[..., ServerInfo]
) -> None:
    replay("ollama", "show")
    assert recognised("nomic-embed-text:latest") == ServerInfo(
        kind="ollama", version="0.12.6", task="embed", model="nomic-embed-text:latest", max_tokens=2048
    )


def test_ollama_before_it_told_what_models_are_for_is_recognised_too(
    replay: Replay, recognised: Callable[..., ServerInfo]
) -> None:
    replay("ollama")
    assert recognised("x") == ServerInfo(kind="ollama", version="0.12.6", model="x")


def test_a_slow_account_of_sglang_costs_only_the_version(
    replay: Replay, server: loopback.Server, recognised: Callable[..., ServerInfo]
) -> None:
    replay("sglang_reranker")
    inner = server._override
    server.reply(lambda request: (503, b"", {}) if request.path == "/server_info" else inner and inner(request))
    assert recognised() == ServerInfo(kind="sglang", task="rerank", model="tiny-qwen3-noeos", max_tokens=2048)


@pytest.mark.parametrize(("version", "task"), [("0.15.1", None), ("0.16.0", "embed"), ("0.1.dev1+g1234", "embed")])
def test_routes_of_a_vllm_that_mounts_all_of_them_tell_nothing(
    replay: Replay, server: loopback.Server, recognised: Callable[..., ServerInfo], version: str, task: str | None
) -> None:
    replay("vllm_embedding")
    inner = server._override
    said = (200, {"version": version}, {})
    server.reply(lambda request: said if request.path == "/version" else inner and inner(request))
    assert recognised().task == task


# --- embedding ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tei_embedding", "infinity_embedding", "ollama", "llama_cpp_embedding", "lm_studio"])
@pytest.mark.parametrize("auto", [True, False])
def test_each_server_gets_its_embedding_request(
    replay: Replay, server: loopback.Server, embedder: Make, name: str, *, auto: bool
) -> None:
    said = replay(name, "floats")["floats"]
    kind = name.removesuffix("_embedding")
    found = embedder(said["body"]["model"], dialect="auto" if auto else kind).embed_documents(TEXTS)
    np.testing.assert_allclose(found, VECTORS)
    (request, *_) = server.posted(said["path"])
    assert request.body == said["body"]


def test_infinity_without_a_prefix_is_found_at_its_root_and_asked_there_from_then_on(
    replay: Replay, server: loopback.Server, embedder: Make
) -> None:
    replay("infinity_embedding", "floats")
    ours = embedder("BAAI/bge-small-en-v1.5")
    ours.embed_documents(TEXTS)
    ours.embed_documents(TEXTS)
    assert [request.path for request in server.posted()] == ["/v1/embeddings", "/embeddings", "/embeddings"]


def test_a_batch_is_no_larger_than_tei_says_it_takes(replay: Replay, server: loopback.Server, embedder: Make) -> None:
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
    ours.embed_documents([f"text {at}" for at in range(64)])
    assert [len(request.body["input"]) for request in server.posted()] == [1, 32, 32]


def test_tei_refusing_too_many_texts_is_obeyed(replay: Replay, server: loopback.Server, embedder: Make) -> None:
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
    embedder("m", dialect="tei").embed_documents([f"text {at}" for at in range(64)])
    assert [len(request.body["input"]) for request in server.posted()] == [64, 32, 32]


@pytest.mark.parametrize(("name", "kind"), [("tei_embedding", "tei"), ("llama_cpp_embedding", "llama_cpp")])
def test_a_long_text_is_named_with_what_the_model_reads(
    replay: Replay, server: loopback.Server, embedder: Make, name: str, kind: str
) -> None:
    refusal = replay(name)["too_long"]
    server.reply(
        loopback.to_embeddings(
            lambda texts: (
                (refusal["status"], refusal["response"], {})
                if max(map(len, texts)) > 100
                else (200, loopback.embeddings_reply(texts, size=4), {})
            )
        )
    )
    ours = embedder("m", dialect=ServerInfo(kind=kind, max_tokens=512), long_text="error")  # type: ignore[arg-type]
    with pytest.raises(TextTooLongError, match="longer than the 512 tokens that the model reads") as caught:
        ours.embed_documents(["short", "long " * 100])
    assert caught.value.positions == (1,)


@pytest.mark.parametrize("name", ["tei_embedding", "infinity_embedding", "ollama"])
def test_each_servers_word_for_busy_is_understood(replay: Replay, embedder: Make, name: str) -> None:
    replay(name, "busy")
    with pytest.raises(ServerBusyError, match=r"overloaded|maximum pending"):
        embedder("m").embed_documents(TEXTS)


def test_a_model_that_ollama_lacks_is_a_404_with_its_words(replay: Replay, embedder: Make) -> None:
    replay("ollama", "missing")
    with pytest.raises(EndpointNotFoundError, match="try pulling it first"):
        embedder("x").embed_documents(TEXTS)


def test_a_tei_reranker_asked_to_embed_is_named(replay: Replay, embedder: Make) -> None:
    replay("tei_reranker", "embeddings")
    with pytest.raises(WrongServerError, match="not available for this model"):
        embedder("m").embed_documents(TEXTS)


def test_first_requests_sent_together_all_find_where_infinity_keeps_its_endpoint(
    replay: Replay, server: loopback.Server, embedder: Make
) -> None:
    replay("infinity_embedding")
    questions = server._override
    embeds = loopback.to_embeddings(lambda texts: (200, loopback.embeddings_reply(texts, size=4), {}))

    def answer(request: loopback.Request) -> loopback.Answer | None:
        return embeds(request) if request.path == "/embeddings" else questions and questions(request)

    server.reply(answer)
    server.latency = 0.02
    texts = [f"text {at}" for at in range(8)]
    found = embedder("m", batch_size=1, max_concurrency=8).embed_documents(texts)
    np.testing.assert_allclose(found, [loopback.vector(text, 4) for text in texts], atol=1e-6)


# --- reranking ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "model"),
    [
        ("sglang_old", "sglang", "bge"),
        ("tei_reranker", "tei", "BAAI/bge-reranker-base"),
        ("infinity_reranker", "infinity", "BAAI/bge-reranker-base"),
        ("llama_cpp_reranker", "llama_cpp", "qwen3-reranker-0.6b"),
    ],
)
@pytest.mark.parametrize("auto", [True, False])
def test_each_server_gets_its_rerank_request(
    replay: Replay, server: loopback.Server, reranker: MakeReranker, *, name: str, kind: str, model: str, auto: bool
) -> None:
    said = replay(name, "rerank")["rerank"]
    found = reranker(model, dialect="auto" if auto else kind).rerank(QUERY, DOCUMENTS)
    assert found == RANKED
    (request,) = server.posted()
    assert (request.path, request.body) == (said["path"], said["body"])


def test_the_router_is_asked_where_it_keeps_the_models_name(
    replay: Replay, server: loopback.Server, reranker: MakeReranker
) -> None:
    said = replay("sglang_router_reranker", "rerank")["rerank"]
    assert reranker("m").rerank("cats", ["a cats", "b"]) == [(0, 1.0), (1, 0.0)]
    assert (server.posted()[0].path, server.posted()[0].body) == (said["path"], said["body"])


@pytest.mark.parametrize("name", ["tei_embedding", "infinity_embedding", "sglang_embedding", "vllm_embedding"])
def test_an_embedding_server_is_refused_for_reranking(
    replay: Replay, server: loopback.Server, reranker: MakeReranker, name: str
) -> None:
    replay(name, "rerank") if name != "infinity_embedding" else replay(name)
    with pytest.raises(WrongServerError, match="runs an embedding model"):
        reranker("m").rerank("q", ["a"])
    assert server.posted("rerank") == []


def test_a_llama_cpp_that_was_not_started_to_rerank_says_so(replay: Replay, reranker: MakeReranker) -> None:
    replay("llama_cpp_embedding", "rerank")
    with pytest.raises(WrongServerError, match=r"Start it with `--reranking`"):
        reranker("m").rerank("q", ["a"])


@pytest.mark.parametrize(("name", "title"), [("ollama", "Ollama"), ("lm_studio", "LM Studio")])
def test_a_server_that_never_reranks_is_refused_before_it_is_asked_to(
    replay: Replay, server: loopback.Server, reranker: MakeReranker, name: str, title: str
) -> None:
    replay(name)
    with pytest.raises(WrongServerError, match=f"is {title}, which does not rerank.*SGLang, vLLM or llama.cpp"):
        reranker("m").rerank("q", ["a"])
    assert server.posted("rerank") == []
    with pytest.raises(InvalidInputError, match=f"`dialect` names {title}") as caught:
        reranker("m", dialect=name)
    assert caught.value.parameter == "dialect"


def test_documents_are_sent_in_the_batches_that_tei_takes(
    replay: Replay, server: loopback.Server, reranker: MakeReranker
) -> None:
    info = replay("tei_reranker")["info"]["response"]

    def answer(request: loopback.Request) -> loopback.Answer:
        if request.path == "/info":
            return 200, info, {}
        if request.path != "/rerank":
            return 404, b"", {}
        return 200, [{"index": at, "score": 0.5} for at in range(len(request.body["texts"]))], {}

    server.reply(answer)
    reranker("m").rerank("q", [f"text {at}" for at in range(64)])
    assert [len(request.body["texts"]) for request in server.posted()] == [32, 32]


# --- instructions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "info",
    [
        ServerInfo(kind="sglang", version="0.5.7"),
        ServerInfo(kind="vllm", version="0.13.0"),
        ServerInfo(kind="tei"),
        ServerInfo(kind="infinity"),
    ],
    ids=lambda info: info.kind,
)
def test_where_an_instruction_is_lost_any_is_refused_and_none_goes_through(
    server: loopback.Server, reranker: MakeReranker, info: ServerInfo
) -> None:
    server.reply(lambda _: (200, [{"index": 0, "score": 0.5}], {}))
    for given in (None, "Find pets"):  # the profile has a default
        with pytest.raises(InvalidInputError, match=r"`instruction` is .* passes none on to its rerankers"):
            reranker(QWEN3, dialect=info, instruction=given).rerank("q", ["a"])
    assert server.posted() == []
    assert reranker(QWEN3, dialect=info, instruction="").rerank("q", ["a"]) == [(0, 0.5)]
    assert {"instruct", "instruction"}.isdisjoint(server.posted()[0].body)


@pytest.mark.parametrize(
    "info",
    [
        ServerInfo(kind="sglang_router"),
        ServerInfo(kind="llama_cpp"),
        ServerInfo(kind="vllm", version="0.14.0"),
        ServerInfo(kind="vllm", version="0.21.0"),
    ],
    ids=lambda info: info.kind,
)
def test_where_the_servers_template_holds_the_instruction_only_another_is_refused(
    server: loopback.Server, reranker: MakeReranker, info: ServerInfo
) -> None:
    server.reply(lambda _: (200, {"results": [{"index": 0, "score": 0.5}]}, {}))
    assert reranker(QWEN3, dialect=info).rerank("q", ["a"]) == [(0, 0.5)]
    assert {"instruct", "instruction"}.isdisjoint(server.posted()[0].body)
    for given in ("Find pets", ""):
        with pytest.raises(InvalidInputError, match="the server puts one of its own into the prompt") as caught:
            reranker(QWEN3, dialect=info).rerank("q", ["a"], instruction=given)
        assert caught.value.parameter == "instruction"
    assert len(server.posted()) == 1


@pytest.mark.parametrize(
    ("info", "names"),
    [
        (ServerInfo(kind="sglang", version="0.5.8"), {"instruct"}),
        (ServerInfo(kind="sglang"), {"instruct"}),
        (ServerInfo(kind="sglang", version="0.0.0.dev1"), {"instruct"}),
        (ServerInfo(kind="vllm", version="0.22.0"), {"instruction"}),
        (ServerInfo(kind="vllm"), {"instruction"}),
        (ServerInfo(kind="cohere"), {"instruct", "instruction"}),
        (ServerInfo(), {"instruct", "instruction"}),
    ],
)
def test_an_instruction_goes_under_the_name_the_server_knows(
    server: loopback.Server, reranker: MakeReranker, info: ServerInfo, names: set[str]
) -> None:
    server.reply(lambda _: (200, {"results": [{"index": 0, "score": 0.5}]}, {}))
    reranker(QWEN3, dialect=info).rerank("q", ["a"], instruction="Find pets")
    body = server.posted()[0].body
    assert {name: body[name] for name in body.keys() & {"instruct", "instruction"}} == dict.fromkeys(names, "Find pets")


# --- overriding --------------------------------------------------------------------------------------------------


def test_a_server_that_is_stated_is_asked_nothing(server: loopback.Server, embedder: Make) -> None:
    server.reply(loopback.to_embeddings(lambda texts: (200, loopback.embeddings_reply(texts, size=4), {})))
    stated = ServerInfo(kind="vllm", task="embed", max_batch=2)
    embedder("m", dialect=stated).embed_documents(["a", "b", "c"])
    assert [(request.method, len(request.body["input"])) for request in server.requests] == [("POST", 2), ("POST", 1)]


def test_a_server_stated_to_be_for_something_else_is_refused_at_once(embedder: Make) -> None:
    with pytest.raises(WrongServerError, match="runs a reranker"):
        embedder("m", dialect=ServerInfo(kind="sglang", task="rerank"))


def test_of_a_named_server_only_its_own_questions_are_asked(
    replay: Replay, server: loopback.Server, reranker: MakeReranker
) -> None:
    replay("tei_reranker", "rerank")
    reranker("m", dialect="tei").rerank(QUERY, DOCUMENTS)
    assert [request.path for request in server.requests] == ["/info", "/rerank"]


def test_a_stated_kind_that_does_not_exist_is_refused(embedder: Make) -> None:
    with pytest.raises(InvalidInputError, match="`dialect` is ServerInfo"):
        embedder("m", dialect=ServerInfo(kind="apache"))  # type: ignore[arg-type]


def test_a_refusal_that_is_about_nothing_known_stays_one(server: loopback.Server, reranker: MakeReranker) -> None:
    server.reply(lambda _: (422, {"error": "no"}, {}))
    with pytest.raises(RequestRefusedError, match="answered 422: no"):
        reranker("m", dialect="tei").rerank("q", ["a"])
