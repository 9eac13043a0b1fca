from __future__ import annotations

import threading

import pytest
import torch

from support.ceiling import find_ceiling, matrix_rate
from support.options import Compute
from support.shapes import SHAPES, checkpoint

CPU = Compute(torch.device("cpu"), torch.float32)
SIZES = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48}


@pytest.mark.parametrize("model", ["mxbai", "jina"])
def test_measuring_the_ceiling_leaves_no_thread_and_all_cores(model: str) -> None:
    torch.set_num_threads(2)
    before = {thread.name for thread in threading.enumerate()}
    with checkpoint(SHAPES[model].changed(SIZES), CPU, seed=0, parent=None) as folder:
        ceiling = find_ceiling(folder, CPU)
        assert ceiling.tokens_per_second() > 0
    new = {thread.name for thread in threading.enumerate()} - before
    assert new <= {"tqdm_monitor"}, "transformers' progress bars start one of their own"
    assert torch.get_num_threads() == 2
    in_a_new_thread = []
    thread = threading.Thread(target=lambda: in_a_new_thread.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert in_a_new_thread == [2]


def test_the_matrix_rate_is_measured() -> None:
    assert matrix_rate(CPU) > 1e8
