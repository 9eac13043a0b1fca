from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import transformers

from support.embedders import PEERS, Ours, cosine_of_different, cosines, loaders, reference
from support.options import Compute
from support.shapes import SHAPES, write
from support.texts import WORKLOADS, TextMaker, Texts

if TYPE_CHECKING:
    from pathlib import Path

CPU = Compute(torch.device("cpu"), torch.float32)


@pytest.mark.parametrize(("model", "sizes"), [("mxbai", "tiny"), ("qwen3", "tiny_qwen3"), ("jina", "tiny")])
def test_texts_have_the_tokens_they_should_and_every_peer_the_same_vectors(
    model: str, sizes: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    shape = SHAPES[model].changed(request.getfixturevalue(sizes))
    folder = write(shape, tmp_path, CPU)
    maker = TextMaker(folder, shape.query_prefix, 3)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    right, dtype = reference(folder, shape, CPU.device)
    assert dtype == "float32"
    peers = {**loaders(folder, shape, CPU, ["padded", "openvino", "onnx"]), **loaders(folder, shape, CPU, PEERS[:1])}
    engines = [Ours(folder, CPU), *(load() for load in peers.values())]
    assert len(engines) > 1
    for workload in (WORKLOADS["queries"], WORKLOADS["chunks"]):
        texts = maker.make(workload, 9)
        counts = [len(tokenizer(text).input_ids) for text in texts.texts]
        assert workload.shortest <= min(counts)
        assert max(counts) <= workload.longest
        assert max(counts) - min(counts) > 10
        prompt = maker.prompt_tokens(workload.role)
        assert texts.lengths == [count + prompt for count in counts]
        assert (prompt > 0) == (workload.role == "query" and model != "jina")
        vectors = right.embed(texts, 4)
        assert cosine_of_different(vectors) < 0.9995
        for engine in engines:
            assert cosines(engine.embed(texts, 4), vectors)["least"] > 0.99999, engine.name
    for engine in engines:
        engine.close()


def test_another_number_of_tokens_than_the_texts_have_is_an_error(tmp_path: Path, tiny: dict[str, Any]) -> None:
    ours = Ours(write(SHAPES["mxbai"].changed(tiny), tmp_path, CPU), CPU)
    with pytest.raises(AssertionError, match="4 tokens were computed where the texts have 5"):
        ours.embed(Texts(["baba bibi"], "document", [5]), None)
    ours.close()


def test_cosines_are_of_rows_with_the_same_place() -> None:
    rows = np.array([[3.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    assert cosines(rows, 5 * rows) == pytest.approx({"least": 1, "mean": 1})
    assert cosines(rows[:2], rows[[0, 2]]) == pytest.approx({"least": 0.5**0.5, "mean": (1 + 0.5**0.5) / 2})
    assert cosine_of_different(rows) == pytest.approx(2 * 0.5**0.5 / 3)
