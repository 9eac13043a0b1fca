from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qwen_embed_integrations import ServerInfo
from qwen_embed_integrations.errors import WrongServerError
from qwen_embed_integrations.served.dialects.sglang import DIALECT, read_probabilities, score_bodies

if TYPE_CHECKING:
    from collections.abc import Callable

    import loopback
    from qwen_embed_integrations import Reranker
    from recorded import Replay

    Check = Callable[..., None]
    MakeReranker = Callable[..., Reranker]
    Recognised = Callable[..., ServerInfo]


@pytest.mark.parametrize(
    ("recording", "expected"),
    [
        (
            "sglang_embedding",
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
            ServerInfo(kind="sglang", version="0.5.23", task="rerank", model="tiny-qwen3-noeos", max_tokens=2048),
        ),
        ("sglang_old", ServerInfo(kind="sglang", version="0.5.4.post1", model="bge", max_batch=64, max_tokens=512)),
    ],
)
def test_it_says_what_it_runs_within_which_limits(
    replay: Replay, recognised: Recognised, recording: str, expected: ServerInfo
) -> None:
    replay(recording)
    assert recognised() == expected


def test_a_slow_account_of_itself_costs_only_the_version(
    replay: Replay, server: loopback.Server, recognised: Recognised
) -> None:
    replay("sglang_reranker")
    inner = server._override
    server.reply(lambda request: (503, b"", {}) if request.path == "/server_info" else inner and inner(request))
    assert recognised() == ServerInfo(kind="sglang", task="rerank", model="tiny-qwen3-noeos", max_tokens=2048)


@pytest.mark.parametrize("dialect", ["auto", "sglang"])
def test_it_gets_the_common_rerank_request(reranks_as_recorded: Check, dialect: str) -> None:
    reranks_as_recorded("sglang_old", dialect=dialect)


def test_an_embedding_server_is_refused_for_reranking(
    replay: Replay, server: loopback.Server, reranker: MakeReranker
) -> None:
    replay("sglang_embedding", "rerank")
    with pytest.raises(WrongServerError, match="runs an embedding model"):
        reranker().rerank("q", ["a"])
    assert server.posted("rerank") == []


def test_before_0_5_8_an_instruction_would_be_lost(loses_instructions: Check) -> None:
    loses_instructions(ServerInfo(kind="sglang", version="0.5.7"))


@pytest.mark.parametrize("version", ["0.5.8", None, "0.0.0.dev1"])
def test_an_instruction_goes_as_instruct(sends_the_instruction_as: Check, version: str | None) -> None:
    sends_the_instruction_as(ServerInfo(kind="sglang", version=version), {"instruct"})


def test_prompts_that_begin_alike_are_scored_in_one_request_and_others_apart() -> None:
    (together,) = score_bodies("m", [[1, 2], [1, 3, 4]], [8, 9])
    assert together == {
        "model": "m",
        "query": [1],
        "items": [[2], [3, 4]],
        "label_token_ids": [8, 9],
        "apply_softmax": True,
    }
    apart = score_bodies("m", [[1, 2], [5, 6]], [8, 9])
    assert [(body["query"], body["items"]) for body in apart] == [([1], [[2]]), ([5], [[6]])]


def test_the_first_label_is_the_probability() -> None:
    assert read_probabilities({"scores": [[0.75, 0.25], [], 3]}) == [0.75, None, None]
    assert read_probabilities(["x"]) == []


def test_its_commands_tell_an_embedding_model_from_a_reranker() -> None:
    embedder, reranker = DIALECT.remedies.start_embedder, DIALECT.remedies.start_reranker
    assert embedder is not None
    assert reranker is not None
    assert embedder("m", "last") == (
        """sglang serve --model-path m --is-embedding --json-model-override-args '{"is_matryoshka": true}'"""
    )
    assert reranker("m", "t.jinja") == "sglang serve --model-path m --chat-template t.jinja"
    assert DIALECT.remedies.more_memory is not None
    assert "--context-length 292" in DIALECT.remedies.more_memory(300)
