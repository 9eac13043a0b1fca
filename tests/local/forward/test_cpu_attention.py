"""Attention in blocks is attention, at every length, with and without a shared beginning."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from qwen_embed_integrations.local.forward import cpu_attention
from qwen_embed_integrations.local.forward.cpu_attention import blocked_attention, padded_tokens
from qwen_embed_integrations.local.forward.layout import Layout
from qwen_embed_integrations.local.forward.row_counts import rounded_up

LENGTHS = {
    "one token": [1],
    "short ones together": [3, 1, 17, 40, 2, 90, 128, 5],
    "a long one": [700],
    "one for PyTorch's kernel": [1100, 5],
    "long and short in turn": [300, 2, 129, 127, 1, 1, 260],
}


def row(lengths: list[int], heads: int, key_heads: int, shared: int = 0) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(len(lengths))
    tokens = shared + sum(lengths)
    return tuple(torch.randn(tokens, count, 16) for count in (heads, key_heads, key_heads))


def one_by_one(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, lengths: list[int], *, shared: int, causal: bool
) -> torch.Tensor:
    """Each sequence with its beginning by PyTorch's own attention; the beginning's rows from the first."""
    query, key, value = (part.transpose(0, 1) for part in (query, key, value))
    edges = torch.tensor([shared, *lengths]).cumsum(0).tolist()
    parts = []
    for start, end in pairwise(edges):
        of_it = torch.cat([torch.arange(shared), torch.arange(start, end)])
        out = functional.scaled_dot_product_attention(
            query[:, of_it], key[:, of_it], value[:, of_it], is_causal=causal, enable_gqa=True
        )
        parts.append(out if not parts else out[:, shared:])
    return torch.cat(parts, 1).transpose(0, 1)


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "both ways"])
@pytest.mark.parametrize(("heads", "key_heads"), [(4, 4), (6, 2)], ids=["all heads", "fewer heads for keys"])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_sequences_attend_within_themselves(lengths: list[int], heads: int, key_heads: int, *, causal: bool) -> None:
    parts = row(lengths, heads, key_heads)
    found = blocked_attention(*parts, Layout(lengths, torch.device("cpu")), 16**-0.5, causal=causal)
    torch.testing.assert_close(found, one_by_one(*parts, lengths, shared=0, causal=causal), atol=2e-6, rtol=0)


@pytest.mark.parametrize("shared", [9, 128, 300])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_a_shared_beginning_is_read_by_all(lengths: list[int], shared: int) -> None:
    parts = row(lengths, 6, 2, shared)
    layout = Layout(lengths, torch.device("cpu"), shared=shared)
    found = blocked_attention(*parts, layout, 16**-0.5, causal=True)
    torch.testing.assert_close(found, one_by_one(*parts, lengths, shared=shared, causal=True), atol=2e-6, rtol=0)


@pytest.mark.parametrize("shared", [0, 9, 128])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_a_last_token_alone_attends_as_it_does_among_all(lengths: list[int], shared: int) -> None:
    query, key, value = row(lengths, 6, 2, shared)
    layout = Layout(lengths, torch.device("cpu"), shared=shared, wanted="last")
    last = layout.wanted_tokens
    found = blocked_attention(query[last], key, value, layout, 16**-0.5, causal=True, one_query=True)
    wanted = one_by_one(query, key, value, lengths, shared=shared, causal=True)[last]
    torch.testing.assert_close(found, wanted, atol=2e-6, rtol=0)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_a_first_token_alone_attends_as_it_does_among_all(lengths: list[int]) -> None:
    query, key, value = row(lengths, 4, 4)
    layout = Layout(lengths, torch.device("cpu"), wanted="first")
    first = layout.wanted_tokens
    found = blocked_attention(query[first], key, value, layout, 16**-0.5, causal=False, one_query=True)
    wanted = one_by_one(query, key, value, lengths, shared=0, causal=False)[first]
    torch.testing.assert_close(found, wanted, atol=2e-6, rtol=0)


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "both ways"])
def test_scores_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch, *, causal: bool) -> None:
    largest = 0
    softmax = torch.softmax

    def watched(scores: torch.Tensor, axis: int) -> torch.Tensor:
        nonlocal largest
        largest = max(largest, scores.numel())
        return softmax(scores, axis)

    monkeypatch.setattr(torch, "softmax", watched)
    lengths = [3000, 60]
    half = [part.bfloat16() for part in row(lengths, 4, 4)]  # in float32, PyTorch's kernel takes so long a sequence
    blocked_attention(*half, Layout(lengths, torch.device("cpu")), 0.25, causal=causal)
    one_head_of_fewest_rows = cpu_attention._LEAST_ROWS * rounded_up(3000)
    size = 4 if causal else 2
    assert 0 < largest <= max(cpu_attention._SCORES * torch.get_num_threads() // size, one_head_of_fewest_rows)


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "both ways"])
def test_a_long_sequence_in_float32_is_left_to_the_flash_kernel(
    monkeypatch: pytest.MonkeyPatch, *, causal: bool
) -> None:
    parts = row([3000], 4, 2)
    wanted = one_by_one(*parts, [3000], shared=0, causal=causal)
    monkeypatch.setattr(torch, "softmax", None)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):  # which no other kernel may stand in for
        found = blocked_attention(*parts, Layout([3000], torch.device("cpu")), 16**-0.5, causal=causal)
    torch.testing.assert_close(found, wanted, atol=2e-6, rtol=0)


def test_a_decoders_large_scores_lose_no_more_in_bfloat16_than_in_pytorchs_own() -> None:
    lengths = [200]
    query, key, value = row(lengths, 4, 4)
    query *= 8
    exact = one_by_one(query, key, value, lengths, shared=0, causal=True)
    half = tuple(part.bfloat16() for part in (query, key, value))
    own = one_by_one(*half, lengths, shared=0, causal=True)
    found = blocked_attention(*half, Layout(lengths, torch.device("cpu")), 16**-0.5, causal=True)
    assert (found - exact).norm() < 1.05 * (own - exact).norm()


def test_an_encoder_in_bfloat16_stays_near() -> None:
    lengths = [200, 7, 30]
    parts = row(lengths, 4, 4)
    exact = one_by_one(*parts, lengths, shared=0, causal=False)
    layout = Layout(lengths, torch.device("cpu"))
    found = blocked_attention(*(part.bfloat16() for part in parts), layout, 16**-0.5, causal=False)
    assert functional.cosine_similarity(found.float().flatten(1), exact.flatten(1)).min() > 0.9995


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "both ways"])
@pytest.mark.parametrize("shared", [0, 9])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_rows_of_padding_change_nothing(lengths: list[int], shared: int, *, causal: bool) -> None:
    shared = shared if causal else 0
    layout = Layout(lengths, torch.device("cpu"), shared=shared)
    tokens = shared + sum(lengths)
    for dtype, tolerance in ((torch.float32, 2e-6), (torch.bfloat16, 0.05)):
        exact = row(lengths, 6, 2, shared)
        rows = padded_tokens(layout, dtype) - tokens
        parts = [functional.pad(part.to(dtype), (0, 0, 0, 0, 0, rows)) for part in exact]
        layout.plans.clear()
        out = blocked_attention(*parts, layout, 16**-0.5, causal=causal)
        expected = one_by_one(*exact, lengths, shared=shared, causal=causal)
        torch.testing.assert_close(out[:tokens].float(), expected, atol=tolerance, rtol=0)
        assert not out[tokens:].any()


def test_a_sequence_in_bfloat16_comes_out_the_same_alone_and_among_others() -> None:
    lengths = [70, 100, 300, 65, 500]
    whole = Layout(lengths, torch.device("cpu"))
    rows = padded_tokens(whole, torch.bfloat16) - sum(lengths)
    parts = [functional.pad(part.bfloat16(), (0, 0, 0, 0, 0, rows)) for part in row(lengths, 4, 4)]
    together = blocked_attention(*parts, whole, 16**-0.5, causal=False)
    for start, length in zip(whole.starts, lengths, strict=True):
        alone = Layout([length], torch.device("cpu"))
        rows = padded_tokens(alone, torch.bfloat16) - length
        own = [functional.pad(part[start : start + length], (0, 0, 0, 0, 0, rows)) for part in parts]
        out = blocked_attention(*own, alone, 16**-0.5, causal=False)
        assert torch.equal(out[:length], together[start : start + length])
