"""A local embedding model tells what it runs on, and its memory is free when it is closed."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest
import torch

import checkpoints
from qwen_embed_integrations import Embedder
from qwen_embed_integrations.errors import ClosedError
from qwen_embed_integrations.local import embedding
from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles
from qwen_embed_integrations.local.checkpoint.weights import StoredWeights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qwen_embed_integrations.local.sequences import TokenBatch


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[Any]]:
    """References to the models that are loaded."""
    models: list[weakref.ref[Any]] = []
    load: Callable[..., Any] = embedding.load_model

    def watched(*arguments: Any, **options: Any) -> Any:
        model = load(*arguments, **options)
        models.append(weakref.ref(model))
        return model

    monkeypatch.setattr(embedding, "load_model", watched)
    return models


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_describing_tells_what_computes(tiny_qwen3: Path, dtype: str) -> None:
    with Embedder.local(tiny_qwen3, device="cpu", dtype=dtype, token_budget=300) as embedder:
        described = embedder._engine.describe()  # type: ignore[attr-defined]
    assert "attention; linear layers" in described.pop("kernels")
    assert described == {"device": "cpu", "dtype": dtype, "pooling": "last", "max_tokens": 512, "token_budget": 300}


@pytest.mark.parametrize("name", ["tiny_qwen3", "tiny_bert"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_closed_embedder_lets_its_model_go(
    name: str, dtype: str, loaded: list[weakref.ref[Any]], request: pytest.FixtureRequest
) -> None:
    embedder = Embedder.local(request.getfixturevalue(name), device="cpu", dtype=dtype)
    embedder.embed_documents(["the quick brown fox"] * 10)
    assert loaded[0]() is not None
    gc.disable()  # no cycle may keep it, or a GPU's cache would be emptied too early
    try:
        embedder.close()
        assert loaded[0]() is None
    finally:
        gc.enable()
    assert embedder.dimensions
    assert embedder.usage.tokens


async def test_a_closed_embedder_says_so_and_what_to_do(tiny_bert: Path) -> None:
    embedder = Embedder.local(tiny_bert, device="cpu")
    await embedder.aclose()
    with pytest.raises(ClosedError, match=r"is closed.*Embedder\.local"):
        embedder.embed_documents(["fox"])
    with pytest.raises(ClosedError, match=r"is closed.*Embedder\.local"):
        await embedder.aembed_queries(["fox"])
    embedder.close()
    await embedder.aclose()


def test_a_call_in_flight_beside_a_close_gets_its_vectors_and_the_next_a_clear_error(tiny_bert: Path) -> None:
    with Embedder.local(tiny_bert, device="cpu", dtype="float32") as other:
        wanted = other.embed_documents(["quick fox"])
    embedder = Embedder.local(tiny_bert, device="cpu", dtype="float32")
    worker = embedder._engine._windows._worker  # type: ignore[attr-defined]
    compute, computing, may_end = worker._compute, threading.Event(), threading.Event()

    def held(batch: TokenBatch) -> Any:
        computing.set()
        assert may_end.wait(timeout=20)
        return compute(batch)

    worker._compute = held
    answers: list[Any] = []
    caller = threading.Thread(target=lambda: answers.append(embedder.embed_documents(["quick fox"])))
    caller.start()
    assert computing.wait(timeout=20)
    closer = threading.Thread(target=embedder.close)
    closer.start()
    while worker._compute is not None:
        closer.join(timeout=0.01)
    with pytest.raises(ClosedError):
        embedder.embed_documents(["fox"])
    may_end.set()
    for thread in (caller, closer):
        thread.join(timeout=20)
        assert not thread.is_alive()
    assert (answers[0] == wanted).all()


async def test_calls_of_many_tasks_beside_an_aclose_all_end(tiny_bert: Path) -> None:
    embedder = Embedder.local(tiny_bert, device="cpu")
    calls = [asyncio.create_task(embedder.aembed_documents([f"fox {at}"] * 5000)) for at in range(8)]
    await asyncio.sleep(0.01)
    await embedder.aclose()
    for ended in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(ended, ClosedError) or len(ended) == 5000  # type: ignore[arg-type]


MEASURE = """
import sys, torch
from qwen_embed_integrations import Embedder
def held():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))
torch.set_num_threads(1)
texts = ["the quick brown fox"] * 100
with Embedder.local(sys.argv[1], device="cpu", dtype="bfloat16") as first:
    first.embed_documents(texts)
before = held()
large = Embedder.local(sys.argv[2], device="cpu", dtype="bfloat16")
large.embed_documents(texts)
loaded = held()
large.close()
print(loaded - before, held() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's own record")
def test_the_memory_of_a_closed_model_goes_back_to_the_system(tiny_bert: Path, tmp_path: Path) -> None:
    size = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 4, "vocab_size": 30_000}
    folder = checkpoints.bert_embedding(tmp_path / "large", num_attention_heads=8, initializer_range=0.02, **size)
    command = [sys.executable, "-c", MEASURE, str(tiny_bert), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)  # noqa: S603 our own code
    loaded, closed = map(int, done.stdout.split())
    weights = StoredWeights(CheckpointFiles(folder)).size(torch.bfloat16)
    assert loaded > 0.8 * weights > 40e6
    assert closed < 0.5 * weights
