"""The way attention goes on a card, on the CPU: the same calls, with plain arithmetic in the kernel's place.

The stand-in refuses what PyTorch's flash_api.cpp refuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.nn.attention import varlen

from qwen_embed_integrations.local.forward import attention
from qwen_embed_integrations.local.forward.cpu_attention import blocked_attention
from qwen_embed_integrations.local.forward.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADS, SIZE = 8, 32


def kernel(  # noqa: PLR0917 torch's own signature
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    asked: torch.Tensor,
    read: torch.Tensor,
    most_asked: int,
    most_read: int,
    scale: float,
    *,
    causal: bool,
) -> torch.Tensor:
    assert all(part.stride(-1) == 1 for part in (query, key, value))
    assert asked.dtype == read.dtype == torch.int32
    assert (asked[-1], read[-1]) == (len(query), len(key))
    assert most_asked >= asked.diff().max()
    assert most_read >= read.diff().max()
    out = torch.empty_like(query)
    repeats = query.shape[1] // key.shape[1]
    for start, end, begin, stop in zip(asked[:-1], asked[1:], read[:-1], read[1:], strict=True):
        own = query[start:end].transpose(0, 1)
        keys, values = (part[begin:stop].repeat_interleave(repeats, 1).transpose(0, 1) for part in (key, value))
        scores = own @ keys.transpose(1, 2) * scale
        if causal:  # aligned at the end
            later = torch.ones(scores.shape[1:], dtype=torch.bool).triu(1 + int(stop - begin - (end - start)))
            scores = scores.masked_fill(later, float("-inf"))
        out[start:end] = (scores.softmax(-1) @ values).transpose(0, 1)
    return out


@pytest.fixture(params=["2.11", "2.12"])
def release(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`varlen_attn` with the signature of a release: fewer heads for keys need `enable_gqa` from 2.12 on."""

    def of_2_11(*parts: Any, scale: float, window_size: tuple[int, int] = (-1, -1)) -> torch.Tensor:
        return kernel(*parts, scale, causal=window_size == (-1, 0))

    def of_2_12(
        *parts: Any, scale: float, window_size: tuple[int, int] = (-1, -1), enable_gqa: bool = False
    ) -> torch.Tensor:
        assert enable_gqa or parts[0].shape[1] == parts[1].shape[1]
        return kernel(*parts, scale, causal=window_size == (-1, 0))

    monkeypatch.setattr(varlen, "varlen_attn", of_2_11 if request.param == "2.11" else of_2_12)
    attention._varlen_attn.cache_clear()
    yield
    attention._varlen_attn.cache_clear()


@pytest.mark.usefixtures("release")
@pytest.mark.parametrize("kv_heads", [2, HEADS])
@pytest.mark.parametrize(("shared", "causal"), [(0, False), (0, True), (7, True)])
def test_the_kernel_is_called_so_that_it_gives_what_plain_products_give(
    kv_heads: int, shared: int, *, causal: bool
) -> None:
    draw = torch.Generator().manual_seed(3)
    layout = Layout([5, 1, 130, 40], torch.device("cpu"), shared=shared)
    query, key, value = (
        torch.randn(176 + shared, heads, SIZE, generator=draw) for heads in (HEADS, kv_heads, kv_heads)
    )
    found = attention._on_cuda(query, key, value, layout, SIZE**-0.5, causal=causal)
    plain = blocked_attention(query, key, value, layout, SIZE**-0.5, causal=causal)
    assert torch.allclose(found, plain, atol=1e-5)


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 64), (torch.bfloat16, 12), (torch.bfloat16, 264)])
def test_what_the_kernel_does_not_take_goes_another_way(dtype: torch.dtype, size: int) -> None:
    assert not attention._flash_takes(torch.zeros(1, 2, 3, size, dtype=dtype))
