from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_embed_integrations import ServerInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    import loopback
    from qwen_embed_integrations import Reranker
    from recorded import Replay


def test_it_says_what_its_workers_run(replay: Replay, recognised: Callable[..., ServerInfo]) -> None:
    replay("sglang_router_reranker")
    assert recognised() == ServerInfo(kind="sglang_router", task="rerank", model="tiny-reranker")


def test_it_is_asked_where_it_keeps_the_models_name(
    replay: Replay, server: loopback.Server, reranker: Callable[..., Reranker]
) -> None:
    recording = replay("sglang_router_reranker", "rerank")["rerank"]
    assert reranker().rerank("cats", ["a cats", "b"]) == [(0, 1.0), (1, 0.0)]
    assert (server.posted()[0].path, server.posted()[0].body) == (recording["path"], recording["body"])


def test_an_instruction_is_left_to_the_workers_template(
    has_an_instruction_of_its_own: Callable[[ServerInfo], None],
) -> None:
    has_an_instruction_of_its_own(ServerInfo(kind="sglang_router"))
