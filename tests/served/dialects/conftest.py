from __future__ import annotations

import socket
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import loopback
import recorded
from qwen_embed_integrations import Embedder, ModelProfile, Reranker
from qwen_embed_integrations.errors import InvalidInputError, TextTooLongError
from qwen_embed_integrations.options import ServedOptions
from qwen_embed_integrations.served.address import root_of
from qwen_embed_integrations.served.connection import Connection
from qwen_embed_integrations.served.probe import probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qwen_embed_integrations import ServerInfo


@pytest.fixture
def recognised(server: loopback.Server) -> Callable[..., ServerInfo]:
    """Ask the server what it is."""

    def ask(model: str | None = None) -> ServerInfo:
        connection = Connection(ServedOptions(base_url=server.base_url, max_concurrency=1, timeout=5, max_retries=0))
        (found,) = connection.run([probe(root_of(connection.base_url), model=model)])
        connection.close()
        server.requests.clear()
        return found

    return ask


@pytest.fixture
def embedder(server: loopback.Server) -> Iterator[Callable[..., Embedder]]:
    """Make an embedder of a model without a prompt, or of a known one."""
    made: list[Embedder] = []

    def make(model: str = "m", **settings: Any) -> Embedder:
        profile = ModelProfile(name=model, min_dimensions=1)
        settings = {"base_url": server.base_url, "profile": profile, "max_retries": 0} | settings
        made.append(Embedder.served(model, **settings))
        return made[-1]

    yield make
    for adapter in made:
        adapter.close()


@pytest.fixture
def reranker(server: loopback.Server) -> Iterator[Callable[..., Reranker]]:
    """Make a reranker."""
    made: list[Reranker] = []

    def make(model: str = "m", **settings: Any) -> Reranker:
        settings = {"base_url": server.base_url, "max_retries": 0} | settings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made.append(Reranker.served(model, **settings))
        return made[-1]

    yield make
    for adapter in made:
        adapter.close()


@pytest.fixture
def at_host(server: loopback.Server, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Make a name of a host lead to the loopback server."""
    real = socket.getaddrinfo
    names: set[str] = set()

    def resolve(host: Any, *args: Any, **settings: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return real("127.0.0.1" if name in names else host, *args, **settings)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    def lead(host: str) -> str:
        names.add(host)
        return f"http://{host}:{server.port}"

    return lead


@pytest.fixture
def embeds_as_recorded(
    replay: recorded.Replay, server: loopback.Server, embedder: Callable[..., Embedder]
) -> Callable[..., None]:
    """Embed, and hold the request and the vectors against a recording."""

    def check(name: str, **settings: Any) -> None:
        recording = replay(name, "floats")["floats"]
        vectors = embedder(recording["body"]["model"], **settings).embed_documents(recorded.TEXTS)
        np.testing.assert_allclose(vectors, recorded.VECTORS)
        assert server.posted(recording["path"])[0].body == recording["body"]

    return check


@pytest.fixture
def reranks_as_recorded(
    replay: recorded.Replay, server: loopback.Server, reranker: Callable[..., Reranker]
) -> Callable[..., None]:
    """Rerank, and hold the request and the scores against a recording."""

    def check(name: str, **settings: Any) -> None:
        recording = replay(name, "rerank")["rerank"]
        body = recording["body"]
        model = settings.pop("model", None) or body["model"]
        ours = reranker(model, instruction=body.get("instruct"), **settings)
        assert ours.rerank(recorded.QUERY, recorded.DOCUMENTS) == recorded.RANKED
        (request,) = server.posted()
        assert (request.path, request.body) == (recording["path"], body)

    return check


@pytest.fixture
def refuses_long_texts(
    replay: recorded.Replay, server: loopback.Server, embedder: Callable[..., Embedder]
) -> Callable[..., TextTooLongError]:
    """Refuse long texts in a server's recorded words, and return the error that follows."""

    def refuse(name: str, info: ServerInfo) -> TextTooLongError:
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
        with pytest.raises(TextTooLongError) as caught:
            embedder(dialect=info, long_text="error").embed_documents(["short", "long " * 100])
        return caught.value

    return refuse


@pytest.fixture
def loses_instructions(server: loopback.Server, reranker: Callable[..., Reranker]) -> Callable[[ServerInfo], None]:
    """Check that any instruction is refused, and that none goes through."""

    def check(info: ServerInfo) -> None:
        server.reply(lambda _: (200, [{"index": 0, "score": 0.5}], {}))
        for given in (None, "Find pets"):  # the profile has a default
            with pytest.raises(InvalidInputError, match=r"`instruction` is .* passes none on to its rerankers"):
                reranker(recorded.QWEN3_RERANKER, dialect=info, instruction=given).rerank("q", ["a"])
        assert server.posted() == []
        ours = reranker(recorded.QWEN3_RERANKER, dialect=info, instruction="")
        assert ours.rerank("q", ["a"]) == [(0, 0.5)]
        assert {"instruct", "instruction"}.isdisjoint(server.posted()[0].body)

    return check


@pytest.fixture
def has_an_instruction_of_its_own(
    server: loopback.Server, reranker: Callable[..., Reranker]
) -> Callable[[ServerInfo], None]:
    """Check that the default instruction is left to the server, and that any other is refused."""

    def check(info: ServerInfo) -> None:
        server.reply(lambda _: (200, {"results": [{"index": 0, "score": 0.5}]}, {}))
        ours = reranker(recorded.QWEN3_RERANKER, dialect=info)
        assert ours.rerank("q", ["a"]) == [(0, 0.5)]
        assert {"instruct", "instruction"}.isdisjoint(server.posted()[0].body)
        for given in ("Find pets", ""):
            with pytest.raises(InvalidInputError, match="the server puts one of its own into the prompt") as caught:
                ours.rerank("q", ["a"], instruction=given)
            assert caught.value.parameter == "instruction"
        assert len(server.posted()) == 1

    return check


@pytest.fixture
def sends_the_instruction_as(
    server: loopback.Server, reranker: Callable[..., Reranker]
) -> Callable[[ServerInfo, set[str]], None]:
    """Check the names under which an instruction is sent."""

    def check(info: ServerInfo, names: set[str]) -> None:
        server.reply(lambda _: (200, {"results": [{"index": 0, "score": 0.5}]}, {}))
        reranker(recorded.QWEN3_RERANKER, dialect=info).rerank("q", ["a"], instruction="Find pets")
        body = server.posted()[0].body
        sent = {name: body[name] for name in body.keys() & {"instruct", "instruction"}}
        assert sent == dict.fromkeys(names, "Find pets")

    return check
