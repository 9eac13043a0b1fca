from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

import loopback
from qwen_embed_integrations import ModelProfile
from qwen_embed_integrations.errors import (
    BadReplyError,
    InvalidInputError,
    ServerAuthenticationError,
    ServerConnectionError,
    WrongServerError,
)
from qwen_embed_integrations.langchain import ServedEmbeddings

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopback import Answer, Request, Server

    Served = Callable[..., ServedEmbeddings]

PROMPT = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"


def test_only_strings_go_on_the_wire(served: Served, server: Server) -> None:
    served().embed_documents(["tokens are not for sending", "你好"])
    (request,) = server.posted("/embeddings")
    assert request.body["input"] == ["tokens are not for sending", "你好"]


def test_the_encoding_format_is_always_explicit(served: Served, server: Server) -> None:
    served().embed_documents(["a"])
    served(encoding_format="float").embed_documents(["a"])
    assert [request.body["encoding_format"] for request in server.posted("/embeddings")] == ["base64", "float"]


def test_a_query_gets_the_models_prompt(served: Served, server: Server) -> None:
    served().embed_query("what is rag")
    assert server.texts() == [f"{PROMPT}what is rag"]


def test_a_document_gets_no_prompt(served: Served, server: Server) -> None:
    served().embed_documents(["rag is retrieval"])
    assert server.texts() == ["rag is retrieval"]


def test_a_query_and_a_document_of_the_same_text_get_different_vectors(served: Served) -> None:
    embeddings = served()
    assert embeddings.embed_query("same") != embeddings.embed_documents(["same"])[0]


def test_an_instruction_of_the_object_replaces_the_default(served: Served, server: Server) -> None:
    served(query_instruction="Find code").embed_query("sort a list")
    assert server.texts() == ["Instruct: Find code\nQuery:sort a list"]


def test_an_instruction_of_the_call_replaces_the_objects(served: Served, server: Server) -> None:
    served(query_instruction="Find code").embed_query("sort a list", instruction="Find prose")
    assert server.texts() == ["Instruct: Find prose\nQuery:sort a list"]


async def test_an_instruction_of_an_async_call_replaces_the_objects(served: Served, server: Server) -> None:
    await served(query_instruction="Find code").aembed_query("sort a list", instruction="Find prose")
    assert server.texts() == ["Instruct: Find prose\nQuery:sort a list"]


def test_newlines_and_spaces_in_a_text_are_kept(served: Served, server: Server) -> None:
    code = "  def f():\n\treturn 1\n\n"
    served().embed_documents([code])
    assert server.texts() == [code]


def test_rows_are_put_in_order_by_their_index(served: Served, server: Server) -> None:
    texts = [f"text {number}" for number in range(5)]

    def permuted(request: Request) -> Answer | None:
        if not request.path.endswith("/embeddings"):
            return None
        reply = loopback.embeddings_reply(request.body["input"])
        reply["data"].reverse()
        return 200, reply, {}

    server.reply(permuted)
    np.testing.assert_allclose(served().embed_documents(texts), [loopback.vector(text) for text in texts], atol=1e-6)


def test_a_row_of_nan_is_an_error_that_names_the_text(served: Served, server: Server) -> None:
    def broken(request: Request) -> Answer | None:
        if not request.path.endswith("/embeddings"):
            return None
        reply = loopback.embeddings_reply(request.body["input"])
        reply["data"][1]["embedding"] = [math.nan] * loopback.SIZE
        return 200, reply, {}

    server.reply(broken)
    with pytest.raises(BadReplyError) as caught:
        served(encoding_format="float").embed_documents(["good", "bad", "good too"])
    assert caught.value.positions == (1,)


def test_vectors_are_cut_to_the_dimensions_and_are_of_length_one(served: Served, server: Server) -> None:
    (vector,) = served(dimensions=256).embed_documents(["a"])
    assert len(vector) == 256
    assert math.isclose(np.linalg.norm(vector), 1.0, abs_tol=1e-6)
    full = loopback.vector("a")[:256]
    np.testing.assert_allclose(vector, full / np.linalg.norm(full), atol=1e-6)
    assert "dimensions" not in server.posted("/embeddings")[0].body


def test_sync_requests_run_side_by_side_within_the_bound(served: Served, server: Server) -> None:
    server.latency = 0.05
    served(batch_size=1, max_concurrency=3).embed_documents([f"text {number}" for number in range(9)])
    assert server.max_in_flight == 3


async def test_async_requests_run_side_by_side_within_the_bound(served: Served, server: Server) -> None:
    server.latency = 0.05
    await served(batch_size=1, max_concurrency=3).aembed_documents([f"text {number}" for number in range(9)])
    assert server.max_in_flight == 3


async def test_async_callers_together_stay_within_the_bound(served: Served, server: Server) -> None:
    server.latency = 0.05
    embeddings = served(max_concurrency=2)
    await asyncio.gather(*(embeddings.aembed_query(f"query {number}") for number in range(8)))
    assert server.max_in_flight == 2


async def test_sync_and_async_give_the_same_vectors(served: Served) -> None:
    embeddings = served()
    assert await embeddings.aembed_documents(["a", "b"]) == embeddings.embed_documents(["a", "b"])
    assert await embeddings.aembed_query("a") == embeddings.embed_query("a")


def test_one_object_serves_several_event_loops(served: Served) -> None:
    embeddings = served()
    first, second = (asyncio.run(embeddings.aembed_query("a")) for _ in range(2))
    assert first == second


async def test_async_embedding_is_no_sync_embedding_in_a_thread(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise AssertionError("a thread was asked for")

    monkeypatch.setattr("langchain_core.embeddings.embeddings.run_in_executor", refuse)
    embeddings = served()
    await embeddings.aembed_documents(["a"])
    assert len(await embeddings.aembed_query("a")) == loopback.SIZE


def test_no_documents_need_no_request(served: Served, server: Server) -> None:
    assert served().embed_documents([]) == []
    assert server.requests == []


def test_blank_texts_are_refused_by_position_before_anything_is_sent(served: Served, server: Server) -> None:
    with pytest.raises(InvalidInputError, match="positions 1, 2") as caught:
        served().embed_documents(["a", "", " \n"])
    assert caught.value.positions == (1, 2)
    assert server.requests == []


def test_a_blank_query_is_refused_before_anything_is_sent(served: Served, server: Server) -> None:
    with pytest.raises(InvalidInputError):
        served().embed_query(" ")
    assert server.requests == []


def test_dimensions_out_of_range_are_refused_at_construction(served: Served, server: Server) -> None:
    with pytest.raises(InvalidInputError, match=r"`dimensions` is 5000.*between 32 and 1024"):
        served(dimensions=5000)
    assert server.requests == []


def test_a_wrong_url_is_refused_at_construction(served: Served) -> None:
    with pytest.raises(InvalidInputError, match="`base_url` is 'localhost:30000'"):
        served(base_url="localhost:30000")


def test_a_missing_url_is_refused_naming_both_ways_to_give_it() -> None:
    with pytest.raises(InvalidInputError, match=r"`base_url`.*QWEN_EMBED_BASE_URL"):
        ServedEmbeddings(model="Qwen/Qwen3-Embedding-0.6B")


def test_the_url_and_the_key_are_read_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN_EMBED_BASE_URL", server.base_url)
    monkeypatch.setenv("QWEN_EMBED_API_KEY", "sk-from-outside")
    ServedEmbeddings(model="Qwen/Qwen3-Embedding-0.6B").embed_query("a")
    headers = {name.lower(): value for name, value in server.posted("/embeddings")[0].headers.items()}
    assert headers["authorization"] == "Bearer sk-from-outside"


def test_a_reranker_is_refused_at_construction(served: Served) -> None:
    with pytest.raises(WrongServerError, match="is a reranker"):
        served(model="Qwen/Qwen3-Reranker-0.6B")


def test_an_instruction_for_a_model_that_takes_none_is_refused_at_construction(served: Served) -> None:
    with pytest.raises(InvalidInputError, match="`instruction`"):
        served(profile=ModelProfile(name="plain", min_dimensions=1), query_instruction="Find code")


def test_default_headers_are_sent(served: Served, server: Server) -> None:
    served(default_headers={"X-Tenant": "blue"}).embed_query("a")
    headers = {name.lower(): value for name, value in server.posted("/embeddings")[0].headers.items()}
    assert headers["x-tenant"] == "blue"


def test_a_refused_connection_is_an_error_and_no_empty_list() -> None:
    embeddings = ServedEmbeddings(
        model="Qwen/Qwen3-Embedding-0.6B", base_url="http://127.0.0.1:9/v1", max_retries=0, timeout=5
    )
    with pytest.raises(ServerConnectionError):
        embeddings.embed_documents(["a"])


def test_an_error_shows_neither_key_nor_headers(served: Served, server: Server) -> None:
    server.reply(lambda request: (401, {"error": f"bad key {request.headers}"}, {}))
    embeddings = served(api_key="sk-secret", default_headers={"X-Pass": "hush-hush"})
    with pytest.raises(ServerAuthenticationError) as caught:
        embeddings.embed_query("a")
    shown = f"{caught.value!r} {caught.value.body} {caught.value.url}"
    assert "sk-secret" not in shown
    assert "hush-hush" not in shown


def test_the_progress_bar_counts_the_documents(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    served(show_progress_bar=True).embed_documents(["a", "b"])
    assert "2/2" in capsys.readouterr().err


def test_the_core_object_gives_arrays_and_counts_usage(served: Served) -> None:
    embeddings = served()
    assert embeddings.embedder.embed_queries(["a", "b"]).shape == (2, loopback.SIZE)
    assert embeddings.embedder.usage.requests == 1
