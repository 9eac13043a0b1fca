from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest

import loopback
from qwen_embed_integrations import doctor
from qwen_embed_integrations.doctor.server import cosines, unit
from qwen_embed_integrations.profiles import profile_for
from qwen_embed_integrations.served.dialects.examination import SelfReport
from qwen_embed_integrations.server_info import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from examinations import Connected


@pytest.fixture
def answering() -> Iterator[Callable[..., loopback.Server]]:
    """Start a server that answers some paths, and no others."""
    running: list[loopback.Server] = []

    def start(**replies: Any) -> loopback.Server:
        by_path = {path.replace("_", "/"): reply for path, reply in replies.items()}

        def answer(request: loopback.Request) -> loopback.Answer:
            reply = by_path.get(request.path.strip("/"))
            if reply is None:
                return 404, {"detail": "Not Found"}, {}
            return 200, reply(request) if callable(reply) else reply, {}

        running.append(loopback.Server(answer))
        return running[-1]

    yield start
    for server in running:
        server.close()


def test_no_server_is_named_in_the_code_of_the_doctor() -> None:
    for file in Path(doctor.__file__).parent.rglob("*.py"):
        strings = {
            node.value
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert strings.isdisjoint(get_args(Kind)), file.name


@pytest.mark.parametrize(
    ("kind", "path", "reply", "body"),
    [
        ("sglang", "v1_tokenize", {"tokens": [3, 4]}, {"prompt": "a b", "add_special_tokens": False}),
        ("vllm", "tokenize", {"tokens": [3, 4]}, {"prompt": "a b", "add_special_tokens": False}),
        ("tei", "tokenize", [[{"id": 3}, {"id": 4}]], {"inputs": "a b", "add_special_tokens": False}),
        ("llama_cpp", "tokenize", {"tokens": [3, 4]}, {"content": "a b", "add_special": False}),
    ],
)
def test_each_servers_tokenizer_is_asked_in_its_own_form(
    connected: Connected,
    answering: Callable[..., loopback.Server],
    *,
    kind: str,
    path: str,
    reply: Any,
    body: dict[str, Any],
) -> None:
    server = answering(**{path: reply})
    assert connected(server.base_url, kind).tokens_of("a b", special=False) == [3, 4]
    (request,) = server.requests
    assert request.body == {"model": "tiny", **body}


@pytest.mark.parametrize("reply", [{}, {"tokens": ["a"]}, {"tokens": 3}, "x"])
def test_tokens_in_another_form_are_none(
    connected: Connected, answering: Callable[..., loopback.Server], reply: Any
) -> None:
    assert connected(answering(tokenize=reply).base_url, "vllm").tokens_of("a") is None


def test_a_server_without_a_tokenizer_is_not_asked_for_tokens(
    connected: Connected, answering: Callable[..., loopback.Server]
) -> None:
    server = answering()
    assert connected(server.base_url, "ollama").tokens_of("a") is None
    assert server.requests == []


def test_texts_go_in_parts_of_what_the_server_takes(
    connected: Connected, answering: Callable[..., loopback.Server]
) -> None:
    server = answering(v1_embeddings=lambda request: loopback.embeddings_reply(request.body["input"], size=8))
    texts = [f"text {number}" for number in range(7)]
    reply = connected(server.base_url, max_batch=3).embed(texts)
    assert [len(request.body["input"]) for request in server.requests] == [3, 3, 1]
    np.testing.assert_allclose(reply.values, [loopback.vector(text, 8) for text in texts], atol=1e-6)
    assert reply.tokens == sum(map(len, texts))


def test_the_first_path_that_exists_is_asked_from_then_on(
    connected: Connected, answering: Callable[..., loopback.Server]
) -> None:
    server = answering(embeddings=lambda request: loopback.embeddings_reply(request.body["input"], size=8))
    infinity = connected(server.base_url, "infinity")
    infinity.embed(["a"])
    infinity.embed(["b"])
    assert [request.path for request in server.requests] == ["/v1/embeddings", "/embeddings", "/embeddings"]
    assert infinity.embeddings_path == f"{server.root_url}/embeddings"


@pytest.mark.parametrize(
    ("model", "report", "quantized"),
    [
        ("Qwen3-Embedding-0.6B-AWQ", SelfReport(), True),
        ("qwen3-embedding-0.6b-q4_k_m", SelfReport(), True),
        ("Qwen3-Embedding-0.6B", SelfReport(), False),
        ("Qwen3-Embedding-0.6B", SelfReport(quantization="fp8"), True),
        ("Qwen3-Embedding-0.6B", SelfReport(served_name="mine-int8"), True),
    ],
)
def test_quantized_weights_are_told_by_the_servers_word_or_a_name(
    connected: Connected, model: str, report: SelfReport, *, quantized: bool
) -> None:
    server = connected("http://localhost:1", model=model)
    server.report = report
    assert server.is_quantized is quantized


def test_a_causal_model_is_told_by_its_profile_or_its_architecture(connected: Connected) -> None:
    server = connected("http://localhost:1")
    assert server.is_causal is None
    server.report = SelfReport(architectures=("Qwen3ForCausalLM",))
    assert server.is_causal is True
    server.report = SelfReport(architectures=("BertModel",))
    assert server.is_causal is False
    server.profile = profile_for("Qwen/Qwen3-Embedding-0.6B")
    assert server.is_causal is True


def test_cosines_are_those_of_rows_at_the_same_place_and_zero_stays_zero() -> None:
    left, right = np.array([[3.0, 4.0], [0.0, 2.0]]), np.array([[6.0, 8.0], [5.0, 0.0]])
    np.testing.assert_allclose(cosines(left, right), [1, 0])
    np.testing.assert_allclose(unit(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]])
