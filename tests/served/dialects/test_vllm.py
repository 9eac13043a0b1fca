from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from qwen_embed_integrations import ServerInfo
from qwen_embed_integrations.errors import WrongServerError
from qwen_embed_integrations.served.dialects.vllm import DIALECT, read_classes

if TYPE_CHECKING:
    from collections.abc import Callable

    import loopback
    from qwen_embed_integrations import Reranker
    from recorded import Replay

    Check = Callable[..., None]
    MakeReranker = Callable[..., Reranker]
    Recognised = Callable[..., ServerInfo]

VECTORS_REPLY = {"object": "list", "data": [{"index": 0, "object": "embedding", "embedding": [0.6, 0.8]}]}
SCORES_REPLY = {"id": "score-1", "results": [{"index": 0, "document": {"text": "hello"}, "relevance_score": 0.6}]}
NO_VECTORS = {"error": {"message": "The model does not support Embeddings API", "type": "BadRequestError", "code": 400}}
NO_SCORES = {"object": "error", "message": "The model does not support Rerank (Score) API", "code": 400}


def before_0_16(version: str | None, vectors: Any, scores: Any) -> Callable[[loopback.Request], loopback.Answer]:
    """Answer as vLLM before 0.16 does: every route is there, and what a model is not for is refused with 200."""
    replies: dict[tuple[str, str], Any] = {
        ("GET", "/v1/models"): {"object": "list", "data": [{"id": "m", "owned_by": "vllm"}]},
        ("POST", "/v1/embeddings"): vectors,
        ("POST", "/v1/rerank"): scores,
    }
    if version is not None:
        replies["GET", "/version"] = {"version": version}

    def answer(request: loopback.Request) -> loopback.Answer:
        if (request.method, request.path) in replies:
            reply = replies[request.method, request.path]
            return reply if isinstance(reply, tuple) else (200, reply, {})
        status = 405 if ("POST", request.path) in replies else 404
        return status, {"detail": "Method Not Allowed" if status == 405 else "Not Found"}, {}

    return answer


@pytest.mark.parametrize(
    ("recording", "expected"),
    [
        (
            "vllm_embedding",
            ServerInfo(kind="vllm", version="0.32.0", task="embed", model="tiny-qwen3", max_tokens=512),
        ),
        (
            "vllm_reranker",
            ServerInfo(kind="vllm", version="0.32.0", task="rerank", model="tiny-qwen3-noeos", max_tokens=2048),
        ),
    ],
)
def test_it_says_what_it_runs_within_which_limits(
    replay: Replay, recognised: Recognised, recording: str, expected: ServerInfo
) -> None:
    replay(recording)
    assert recognised() == expected


@pytest.mark.parametrize(
    ("version", "vectors", "scores", "task"),
    [
        ("0.15.1", VECTORS_REPLY, SCORES_REPLY, "embed"),
        ("0.15.1", NO_VECTORS, SCORES_REPLY, "rerank"),
        ("0.15.1", NO_VECTORS, NO_SCORES, None),  # a text generator
        ("0.9.2", VECTORS_REPLY, NO_SCORES, "embed"),
        ("0.9.0", VECTORS_REPLY, SCORES_REPLY, "rerank"),
        ("0.9.0", (500, {"message": "Internal Server Error"}, {}), SCORES_REPLY, "rerank"),
        ("0.9.0", VECTORS_REPLY, NO_SCORES, None),  # it refuses to rerank by itself
        ("0.10.2", (403, {}, {}), SCORES_REPLY, None),
        (None, NO_VECTORS, SCORES_REPLY, "rerank"),
        (None, VECTORS_REPLY, SCORES_REPLY, "embed"),
        (None, (403, {}, {}), SCORES_REPLY, "embed"),
    ],
)
def test_one_that_mounts_every_route_is_known_by_what_it_answers(
    server: loopback.Server, recognised: Recognised, version: str | None, *, vectors: Any, scores: Any, task: Any
) -> None:
    server.reply(before_0_16(version, vectors, scores))
    assert recognised() == ServerInfo(kind="vllm", version=version, task=task, model="m")


@pytest.mark.parametrize("version", ["0.32.0", "0.16.0", "0.1.dev1+g1234"])
def test_one_that_mounts_only_what_it_can_do_is_not_tried(
    replay: Replay, server: loopback.Server, recognised: Recognised, version: str
) -> None:
    replay("vllm_embedding")
    inner = server._override

    def answer(request: loopback.Request) -> loopback.Answer | None:
        assert request.method == "GET"
        return (200, {"version": version}, {}) if request.path == "/version" else inner and inner(request)

    server.reply(answer)
    assert recognised().task == "embed"


def test_no_cosine_of_an_old_one_is_taken_for_a_score(server: loopback.Server, reranker: MakeReranker) -> None:
    server.reply(before_0_16("0.10.2", VECTORS_REPLY, SCORES_REPLY))
    with pytest.raises(WrongServerError, match=r"runs an embedding model \(m\).*ServerInfo\(kind='vllm', version="):
        reranker(instruction="").rerank("q", ["a"])
    assert [request.body["documents"] for request in server.posted("rerank")] in ([], [["hello"]])


def test_one_mistaken_for_an_embedding_server_can_be_stated_to_rerank(
    server: loopback.Server, reranker: MakeReranker
) -> None:
    server.reply(before_0_16(None, (403, {}, {}), SCORES_REPLY))
    with pytest.raises(WrongServerError, match=r"pass dialect=ServerInfo\(kind='vllm', .* task='rerank'\)"):
        reranker().rerank("q", ["a"])
    stated = ServerInfo(kind="vllm", version="0.10.2", task="rerank")
    assert reranker(dialect=stated, instruction="").rerank("q", ["a"]) == [(0, 0.6)]


def test_an_embedding_server_is_refused_for_reranking(
    replay: Replay, server: loopback.Server, reranker: MakeReranker
) -> None:
    replay("vllm_embedding", "rerank")
    with pytest.raises(WrongServerError, match="runs an embedding model"):
        reranker().rerank("q", ["a"])
    assert server.posted("rerank") == []


def test_before_0_14_an_instruction_would_be_lost(loses_instructions: Check) -> None:
    loses_instructions(ServerInfo(kind="vllm", version="0.13.0"))


@pytest.mark.parametrize("version", ["0.14.0", "0.21.0"])
def test_before_0_22_the_template_holds_the_instruction(has_an_instruction_of_its_own: Check, version: str) -> None:
    has_an_instruction_of_its_own(ServerInfo(kind="vllm", version=version))


@pytest.mark.parametrize("version", ["0.22.0", None])
def test_an_instruction_goes_as_instruction(sends_the_instruction_as: Check, version: str | None) -> None:
    sends_the_instruction_as(ServerInfo(kind="vllm", version=version), {"instruction"})


def test_the_last_class_is_the_probability() -> None:
    assert read_classes({"data": [{"probs": [0.75]}, {"probs": [0.25, 0.75]}, {}, 3]}) == [0.75, 0.75, None, None]
    assert read_classes("x") == []


def test_its_commands_name_the_pooling_where_one_is_wanted() -> None:
    embedder, reranker = DIALECT.remedies.start_embedder, DIALECT.remedies.start_reranker
    assert embedder is not None
    assert reranker is not None
    plain = """vllm serve m --runner pooling --convert embed --hf-overrides '{"is_matryoshka": true}'"""
    assert embedder("m", None) == plain
    assert embedder("m", "last") == f"""{plain} --pooler-config '{{"pooling_type": "LAST"}}'"""
    assert reranker("m", "t.jinja").endswith(""""is_original_qwen3_reranker": true}' --chat-template t.jinja""")
