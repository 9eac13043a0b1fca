"""A redirect is an error that names where it points: texts and headers go to no one else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import loopback
import tiny
from qwen_embed_integrations import Embedder
from qwen_embed_integrations.errors import EndpointNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def other() -> Iterator[loopback.Server]:
    running = loopback.Server(loopback.sglang_embedding)
    yield running
    running.close()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(server: loopback.Server, other: loopback.Server, status: int) -> None:
    server.reply(lambda request: (status, b"", {"location": other.root_url + request.path}))
    with Embedder.served("tiny", base_url=server.base_url, profile=tiny.PROFILE) as ours:
        with pytest.raises(EndpointNotFoundError, match=f"redirects to {other.root_url}"):
            ours.embed_documents(["private"])
        with pytest.raises(EndpointNotFoundError, match="point `base_url` there"):
            await ours.aembed_documents(["private"])
        await ours.aclose()
    assert other.requests == []
