"""Limits: the smallest of what the caller allows, the server states and its refusals taught."""

from __future__ import annotations

from qwen_embed_integrations import ServerInfo
from qwen_embed_integrations.options import ServedOptions
from qwen_embed_integrations.served.limits import Limits
from qwen_embed_integrations.served.recognition import Recognition

URL = "http://somewhere:1/v1"


def limits_of(batch_size: int, **stated: int) -> Limits:
    server = ServerInfo(kind="sglang", task="embed", **stated)  # type: ignore[arg-type]
    options = ServedOptions(base_url=URL, batch_size=batch_size, dialect=server)
    return Limits(options, Recognition(URL, task="embed", model="m", options=options))


def test_the_callers_batch_size_holds_where_nothing_else_is_known() -> None:
    limits = limits_of(64)
    assert (limits.batch_size, limits.max_batch, limits.max_tokens) == (64, None, None)


def test_what_the_server_states_is_honoured() -> None:
    limits = limits_of(64, max_batch=10, max_tokens=512)
    assert (limits.batch_size, limits.max_batch, limits.max_tokens) == (10, 10, 512)


def test_a_larger_limit_does_not_raise_the_callers() -> None:
    assert limits_of(4, max_batch=10).batch_size == 4


def test_a_learned_limit_only_gets_smaller() -> None:
    limits = limits_of(64, max_batch=30)
    for refused, expected in ((40, 30), (16, 16), (20, 16), (8, 8)):
        limits.lower_max_batch(refused)
        assert limits.batch_size == limits.max_batch == expected
