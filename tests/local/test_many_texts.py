"""Many texts take the memory of their result and of what is being computed, whatever they come in."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

import checkpoints
from qwen_embed_integrations import Embedder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEASURE = """
import sys, threading
import torch
from qwen_embed_integrations import Embedder

def own():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))

torch.set_num_threads(1)
texts = ["the quick brown fox jumps over the lazy dog " * 8 + str(at) for at in range(10_000)]
loaded = Embedder.local(sys.argv[1], device="cpu", dtype="float32")
loaded.embed_documents(texts[:4500])
before, most, done = own(), [0], threading.Event()

def watch():
    while not done.wait(0.01):
        most.append(own())

watcher = threading.Thread(target=watch)
watcher.start()
rows = loaded.embed_documents(text for text in texts)
done.set()
watcher.join()
print(max(most) - before, rows.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's own record")
def test_many_texts_take_no_memory_beyond_their_vectors(tmp_path: Path) -> None:
    folder = checkpoints.bert_embedding(tmp_path / "tiny", num_hidden_layers=1, intermediate_size=16)
    command = [sys.executable, "-c", MEASURE, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)  # noqa: S603 our own code
    most, result = map(int, done.stdout.split())
    assert result == 10_000 * 48 * 4
    # Tokenized all beforehand, they would take some 100 MB.
    assert most - result < 40e6


def texts() -> Iterator[str]:
    yield from ("a fox", "a lazy dog", "search engine")


@pytest.fixture(scope="module")
def loaded(tiny_bert: Path) -> Iterator[Embedder]:
    with Embedder.local(tiny_bert, device="cpu", dtype="float32") as made:
        yield made


def test_an_embedder_takes_any_iterable(loaded: Embedder) -> None:
    wanted = loaded.embed_documents([*texts()])
    np.testing.assert_array_equal(loaded.embed_documents(texts()), wanted)
    np.testing.assert_array_equal(loaded.embed_documents(dict.fromkeys(texts())), wanted)
    np.testing.assert_array_equal(loaded.embed_queries(texts()), loaded.embed_queries([*texts()]))


async def test_an_embedder_takes_any_iterable_in_async_code(loaded: Embedder) -> None:
    np.testing.assert_array_equal(await loaded.aembed_documents(texts()), loaded.embed_documents([*texts()]))


async def test_langchains_class_takes_any_iterable(tiny_bert: Path, loaded: Embedder) -> None:
    classes = pytest.importorskip("qwen_embed_integrations.langchain")
    embeddings = classes.LocalEmbeddings(model=str(tiny_bert), device="cpu", dtype="float32")
    wanted = loaded.embed_documents([*texts()]).tolist()
    assert embeddings.embed_documents(texts()) == wanted
    assert await embeddings.aembed_documents(texts()) == wanted


@pytest.mark.parametrize("size", [2, 3, 2048])
async def test_llama_indexs_class_takes_any_iterable(tiny_bert: Path, loaded: Embedder, size: int) -> None:
    classes = pytest.importorskip("qwen_embed_integrations.llama_index")
    model = classes.LocalEmbedding(str(tiny_bert), device="cpu", dtype="float32", embed_batch_size=size)
    wanted = loaded.embed_documents([*texts()])
    np.testing.assert_allclose(model.get_text_embedding_batch(texts()), wanted, atol=1e-6)
    np.testing.assert_allclose(await model.aget_text_embedding_batch(texts()), wanted, atol=1e-6)
