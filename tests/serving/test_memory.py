from __future__ import annotations

from dataclasses import replace

import pytest

from qwen_embed_integrations.serving.memory import share
from qwen_embed_integrations.serving.target import resolve

GIB = 1024**3
SMALL = resolve("Qwen/Qwen3-Embedding-0.6B")


def test_a_share_holds_the_weights_the_longest_text_and_a_full_pass() -> None:
    part = share(SMALL, 24 * GIB, context=None)
    assert part.tokens == 32768 + 16384
    needed = 2 * 595_776_512 + part.tokens * SMALL.kv_bytes
    assert needed < part.fraction * 24 * GIB < 1.2 * needed


def test_an_embedder_and_a_reranker_fit_on_one_card() -> None:
    both = [share(resolve(f"Qwen/Qwen3-{kind}-0.6B"), 24 * GIB, context=None) for kind in ("Embedding", "Reranker")]
    assert sum(part.fraction for part in both) < 0.85


def test_a_larger_card_gives_a_smaller_share() -> None:
    assert share(SMALL, 80 * GIB, context=None).fraction < share(SMALL, 24 * GIB, context=None).fraction


def test_a_shorter_context_needs_less() -> None:
    assert share(SMALL, 24 * GIB, context=512).tokens == 2 * 16384


def test_float32_needs_twice_as_much() -> None:
    narrow, wide = (share(SMALL, 64 * GIB, context=None, bytes_per_number=size).fraction for size in (2, 4))
    assert wide == pytest.approx(2 * narrow, abs=0.02)


def test_activations_keep_their_room_on_a_card_that_is_too_small() -> None:
    part = share(resolve("Qwen/Qwen3-Embedding-8B"), 16 * GIB, context=None)
    assert part.fraction == 0.85
    assert "14.1 GiB of weights on 16 GiB" in part.reason


def test_weights_of_unknown_size_are_said_to_be_unknown() -> None:
    assert "not known" in share(replace(SMALL, weights=None), 24 * GIB, context=None).reason
