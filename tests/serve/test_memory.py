from __future__ import annotations

from dataclasses import replace

import pytest

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.serve.memory import longest_text, require_room, share
from qwen_embed_integrations.serve.options import ServeOptions
from qwen_embed_integrations.serve.target import resolve

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


def gpu(gib: float, **options: object) -> ServeOptions:
    return ServeOptions(free=int(gib * GIB), total=int(gib * GIB), **options)  # type: ignore[arg-type]


def test_a_model_that_keeps_keys_and_values_reads_the_length_that_memory_is_worked_out_for() -> None:
    assert longest_text(resolve("Qwen/Qwen3-Reranker-8B"), ServeOptions()) == 8192
    assert longest_text(resolve("Qwen/Qwen3-Embedding-8B"), ServeOptions(context_length=512)) == 512


def test_an_encoder_knows_its_own_length() -> None:
    assert longest_text(resolve("mxbai-embed-large"), ServeOptions()) is None


def test_a_model_that_fits_is_served() -> None:
    require_room(SMALL, gpu(8))
    require_room(resolve("Qwen/Qwen3-Embedding-8B"), gpu(24))


def test_weights_beyond_the_card_are_refused_with_what_fits() -> None:
    message = (
        r"14\.1 GiB, and 13\.6 of the GPU's 16\.0 GiB.*Use Qwen/Qwen3-Embedding-4B.*fp8.*Embedder\.local.*--replicas do"
    )
    with pytest.raises(InvalidInputError, match=message):
        require_room(resolve("Qwen/Qwen3-Embedding-8B"), gpu(16))


def test_weights_beyond_main_memory_are_refused_with_what_fits() -> None:
    with pytest.raises(InvalidInputError, match=r"28\.2 GiB.*20\.0 GiB of memory are free.*--dtype bfloat16"):
        require_room(resolve("Qwen/Qwen3-Embedding-8B"), gpu(20, device="cpu"))
    require_room(resolve("Qwen/Qwen3-Embedding-8B"), gpu(20, device="cpu", dtype="bfloat16"))


def test_memory_that_others_use_does_not_count() -> None:
    with pytest.raises(InvalidInputError, match=r"2\.0 of the GPU's 24\.0 GiB"):
        require_room(resolve("Qwen/Qwen3-Embedding-4B"), ServeOptions(free=2 * GIB, total=24 * GIB))


def test_a_longest_text_without_room_is_refused_with_one_that_has() -> None:
    large = resolve("Qwen/Qwen3-Embedding-4B")
    with pytest.raises(InvalidInputError, match="Pass --context-length 19456") as caught:
        require_room(large, gpu(12))
    require_room(large, gpu(12, context_length=19456))
    assert "longest text of 32768" in str(caught.value)


@pytest.mark.parametrize("extra", [["--quantization", "fp8"], ["--tp-size=2"], ["--cpu-offload-gb", "8"]])
def test_whoever_changes_what_lies_on_a_card_is_believed(extra: list[str]) -> None:
    require_room(resolve("Qwen/Qwen3-Embedding-8B"), gpu(8), extra)


def test_the_weights_of_a_quantized_copy_are_not_those_of_its_profile() -> None:
    require_room(resolve("someone/Qwen3-Embedding-8B-AWQ"), gpu(8))
