"""Prepacked layers can still be read."""

from __future__ import annotations

import torch
from torch import nn

from qwen_embed_integrations.local.prepacked import PrepackedLinear


def test_weights_can_still_be_read() -> None:
    layer = nn.Linear(24, 40)
    weight = layer.weight.detach()
    torch.testing.assert_close(PrepackedLinear(layer).weight, weight, atol=0, rtol=0)
