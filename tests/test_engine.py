from __future__ import annotations

from qwen_embed_integrations.engine import Usage


def test_usage_adds_up() -> None:
    assert Usage(1, 2, 3) + Usage(10, 20, 30) == Usage(11, 22, 33)
