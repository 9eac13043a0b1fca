from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import loopback
from qwen_embed_integrations import Embedder, Reranker
from qwen_embed_integrations.serve.client_snippet import client_snippet
from qwen_embed_integrations.serve.target import resolve

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(code, "printed", "exec"), names)  # noqa: S102 our own lines
    return names


def test_the_lines_connect_to_an_embedding_server(server: loopback.Server) -> None:
    target = resolve("Qwen/Qwen3-Embedding-0.6B")
    url = server.base_url.removesuffix("/v1")
    names = run(client_snippet(target, served_name=target.model, url=url, api_key_env=None))
    with names["embedder"] as embedder:
        assert isinstance(embedder, Embedder)
        assert embedder.embed_documents(["a"]).shape == (1, 1024)
    assert len(names["embeddings"].embed_query("a")) == 1024


def test_the_lines_connect_to_a_reranker(reranker_server: loopback.Server) -> None:
    target = resolve("Qwen/Qwen3-Reranker-0.6B")
    url = reranker_server.base_url.removesuffix("/v1")
    names = run(client_snippet(target, served_name=target.model, url=url, api_key_env=None))
    with names["reranker"] as reranker:
        assert isinstance(reranker, Reranker)
        assert [each.index for each in reranker.rerank("b", ["a", "b"])] == [1, 0]


def test_the_lines_read_the_key_from_its_variable(server: loopback.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_OF_MINE", "hush")
    target = resolve("Qwen/Qwen3-Embedding-0.6B")
    url = server.base_url.removesuffix("/v1")
    code = client_snippet(target, served_name=target.model, url=url, api_key_env="KEY_OF_MINE")
    assert os.environ["KEY_OF_MINE"] not in code
    run(code)["embedder"].embed_documents(["a"])
    assert server.requests[-1].headers["authorization"] == "Bearer hush"


def test_a_name_may_hold_quotes() -> None:
    target = resolve("me/mine", profile="Qwen/Qwen3-Embedding-0.6B")
    names = run(client_snippet(target, served_name='a "b" \\c', url="http://127.0.0.1:9", api_key_env=None))
    assert names["embeddings"].model == 'a "b" \\c'


def test_a_name_that_tells_nothing_comes_with_its_profile() -> None:
    target = resolve("me/mine", profile="Qwen/Qwen3-Embedding-0.6B")
    names = run(client_snippet(target, served_name="mine", url="http://127.0.0.1:9", api_key_env=None))
    assert names["embeddings"].profile == target.profile


def test_a_folder_of_another_size_than_its_profile_connects(server: loopback.Server, tmp_path: Path) -> None:
    config = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 8}
    (tmp_path / "config.json").write_text(json.dumps(config))
    server.reply(loopback.to_embeddings(lambda texts: (200, loopback.embeddings_reply(texts, size=8), {})))
    target = resolve(str(tmp_path), profile="Qwen/Qwen3-Embedding-0.6B")
    url = server.base_url.removesuffix("/v1")
    names = run(client_snippet(target, served_name="mine", url=url, api_key_env=None))
    assert names["embedder"].embed_documents(["a"]).shape == (1, 8)
    assert names["embeddings"].profile.query_prefix == target.profile.query_prefix


def test_the_line_for_llama_index_works_without_its_mark(server: loopback.Server) -> None:
    target = resolve("Qwen/Qwen3-Embedding-0.6B")
    code = client_snippet(target, served_name=target.model, url=server.base_url.removesuffix("/v1"), api_key_env=None)
    _, _, commented = code.partition("# LlamaIndex: ")
    names = run(commented.replace("\n# ", "\nmade = "))
    assert len(names["made"].get_query_embedding("a")) == 1024
