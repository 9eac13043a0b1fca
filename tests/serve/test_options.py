from __future__ import annotations

import pytest

from qwen_embed_integrations.serve.options import ServeOptions


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (ServeOptions(), 2),
        (ServeOptions(dtype="float32"), 4),
        (ServeOptions(device="cpu"), 4),
        (ServeOptions(device="cpu", dtype="bfloat16"), 2),
    ],
)
def test_a_number_takes_two_bytes_unless_it_is_computed_in_float32(options: ServeOptions, size: int) -> None:
    assert options.bytes_per_number == size
