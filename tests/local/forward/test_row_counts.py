"""Products have one of few numbers of rows, and memory stays where it is over passes of many lengths."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch

import checkpoints
from qwen_embed_integrations.local.forward.row_counts import padded, rounded_up

if TYPE_CHECKING:
    from pathlib import Path


def test_few_counts_stand_for_all_and_add_little() -> None:
    counts = {rows: rounded_up(rows) for rows in range(1, 8193)}
    assert all(counts[rows] >= rows for rows in counts)
    assert [*counts.values()] == sorted(counts.values())
    assert len({count for rows, count in counts.items() if rows <= 256}) <= 24
    assert len({count for rows, count in counts.items() if rows <= 1024}) <= 72
    assert len(set(counts.values())) <= 170
    assert max(count / rows for rows, count in counts.items() if rows >= 64) <= 1.25
    assert sum(count / rows for rows, count in counts.items() if 900 <= rows <= 1024) / 125 < 1.01


def test_a_count_that_is_used_stands_for_itself() -> None:
    assert all(rounded_up(rounded_up(rows)) == rounded_up(rows) for rows in range(1, 40_000))


def test_rows_of_zeros_come_behind_the_others() -> None:
    states = torch.randn(1, 3, 5)
    longer = padded(states, 8)
    assert longer.shape == (1, 8, 5)
    assert torch.equal(longer[:, :3], states)
    assert not longer[:, 3:].any()
    assert padded(states, 3) is states


# In a process of its own, whose memory nothing else has grown and given back before.
SCRIPT = """
import sys
from pathlib import Path

import torch

from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles
from qwen_embed_integrations.local.forward.packed import token_states
from qwen_embed_integrations.local.loading import load_model
from transformers import AutoModel

folder, dtype = sys.argv[1:]
torch.set_num_threads(1)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


model = load_model(AutoModel, CheckpointFiles(folder), device=torch.device("cpu"), dtype=getattr(torch, dtype))


@torch.inference_mode()
def run(lengths):
    for length in lengths:
        token_states(model, [[5] * length, [6] * (length // 2 + 1)], 0).mean()


run([1, 120])
before = resident()
run(range(2, 120))
print(resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the memory in use as Linux tells it")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_passes_of_every_length_leave_no_memory_behind(dtype: str, tmp_path: Path) -> None:
    if dtype == "bfloat16" and not torch.cpu.get_capabilities().get("avx512_bf16"):
        pytest.skip("bfloat16 is not multiplied by oneDNN on this processor")
    checkpoints.bert(tmp_path)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), dtype]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)  # noqa: S603 our own code
    # With a kernel for each length it would be 250 MiB and more.
    assert int(done.stdout.split()[-1]) < 90 * 2**20
