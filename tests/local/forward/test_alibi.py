"""Attention with ALiBi is softmax(QK + bias)V within each sequence, whatever their lengths."""

from __future__ import annotations

import pytest
import torch

from qwen_embed_integrations.local.forward.alibi import alibi_attention, slopes
from qwen_embed_integrations.local.forward.layout import Layout

LENGTHS = [3, 3, 40, 1, 129, 17, 700]


def one_by_one(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Each sequence and head by the formula, in float64."""
    heads, size = query.shape[1:]
    out = torch.zeros_like(query, dtype=torch.float64)
    start = 0
    for length in LENGTHS:
        own, places = slice(start, start + length), torch.arange(length)
        for head, slope in zip(range(heads), slopes(heads), strict=True):
            scores = query[own, head].double() @ key[own, head].double().T / size**0.5
            scores -= slope * (places[:, None] - places).abs()
            out[own, head] = scores.softmax(-1) @ value[own, head].double()
        start += length
    return out


def test_slopes_are_the_published_ones() -> None:
    assert slopes(8) == [2.0**-power for power in range(1, 9)]
    assert slopes(12) == [*slopes(8), 2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]
    assert slopes(6) == [2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8, 2.0**-1, 2.0**-3]


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
def test_sequences_attend_within_themselves(dtype: torch.dtype, tolerance: float, padding: int) -> None:
    torch.manual_seed(0)
    tokens = sum(LENGTHS)
    parts = [torch.randn(tokens + padding, 6, 8).to(dtype) for _ in range(3)]
    out = alibi_attention(*parts, Layout(LENGTHS, torch.device("cpu")))
    torch.testing.assert_close(out[:tokens].double(), one_by_one(*parts)[:tokens], atol=tolerance, rtol=0)
    assert not out[tokens:].any()


def test_a_long_sequence_is_cut_into_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qwen_embed_integrations.local.forward.alibi._AT_ONCE", {"cpu": 2**15})
    torch.manual_seed(0)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 0.05)):
        parts = [torch.randn(sum(LENGTHS), 6, 8).to(dtype) for _ in range(3)]
        out = alibi_attention(*parts, Layout(LENGTHS, torch.device("cpu")))
        torch.testing.assert_close(out.double(), one_by_one(*parts), atol=tolerance, rtol=0)
