"""What callers share, and the ways in which they call it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from qwen_embed_integrations import Embedder
from qwen_embed_integrations.local.sequences import TokenBatch
from support.padded import PaddedTransformers
from support.texts import Texts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from support.options import Compute
    from support.shapes import Shape

    # Calls with each query; returns the wait of each, in seconds.
    Calls = Callable[["Shared", list[str]], list[float]]

# HuggingFaceEmbedding asks the hub for prompts, even of a folder.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

OURS = "Embedder"
DIRECT = "the model, directly"


@dataclass(frozen=True)
class Shared:
    """An object that callers share.

    Attributes:
        name: Its class.
        embed: Computes one query's vector, for a thread.
        aembed: The same, for a coroutine.
        close: Frees the model.
    """

    name: str
    embed: Callable[[str], Any]
    aembed: Callable[[str], Awaitable[Any]]
    close: Callable[[], Any]


class OurEmbedder:
    """`Embedder.local`, and its model without what callers share."""

    def __init__(self, folder: Path, compute: Compute) -> None:
        self._embedder = Embedder.local(folder, device=compute.device.type, dtype=compute.dtype_name)

        async def aembed(query: str) -> Any:
            return await self._embedder.aembed_queries([query])

        self.shared = Shared(OURS, lambda query: self._embedder.embed_queries([query]), aembed, self._embedder.close)

    def direct(self) -> Shared:
        """Return what computes a query's vector in the caller's own thread, on the model that callers share."""
        # There is no public way around the threads that serve all callers.
        engine: Any = self._embedder._engine  # noqa: SLF001 see above
        prefix = self._embedder.profile.prefix("query")

        def embed(query: str) -> Any:
            tokens = engine._tokenizer.encode([prefix + query])  # noqa: SLF001 see above
            vectors = engine._windows._worker._compute(TokenBatch(tokens.sequences))  # noqa: SLF001 see above
            return vectors.result() if hasattr(vectors, "result") else vectors

        return Shared(DIRECT, embed, partial(asyncio.to_thread, embed), lambda: None)


def loaders(folder: Path, shape: Shape, compute: Compute) -> list[Callable[[], Shared]]:
    """Return what loads those that are compared with `Embedder`: this package's classes, and the peer last.

    Frameworks that are not installed are left out; without LlamaIndex's `HuggingFaceEmbedding`, transformers behind a
    lock is the peer.
    """
    kinds: list[Callable[[Path, Shape, Compute], Shared]] = []
    if find_spec("langchain_core"):
        kinds.append(_our_langchain)
    if find_spec("llama_index"):
        kinds.append(_our_llama_index)
    kinds.append(_hugging_face if find_spec("llama_index") and _has_hugging_face() else _locked)
    return [partial(kind, folder, shape, compute) for kind in kinds]


def _has_hugging_face() -> bool:
    try:
        return find_spec("llama_index.embeddings.huggingface") is not None
    except ModuleNotFoundError:
        return False


def _our_langchain(folder: Path, _: Shape, compute: Compute) -> Shared:
    from qwen_embed_integrations.langchain import LocalEmbeddings  # noqa: PLC0415 missing on a bare machine

    name: Any = compute.dtype_name
    made = LocalEmbeddings(model=str(folder), device=compute.device.type, dtype=name)
    return Shared("LocalEmbeddings (LangChain)", made.embed_query, made.aembed_query, made.embedder.close)


def _our_llama_index(folder: Path, _: Shape, compute: Compute) -> Shared:
    from qwen_embed_integrations.llama_index import LocalEmbedding  # noqa: PLC0415 missing on a bare machine

    name: Any = compute.dtype_name
    made = LocalEmbedding(str(folder), device=compute.device.type, dtype=name)
    return Shared(
        "LocalEmbedding (LlamaIndex)", made.get_query_embedding, made.aget_query_embedding, made.embedder.close
    )


def _hugging_face(folder: Path, shape: Shape, compute: Compute) -> Shared:
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding  # noqa: PLC0415 missing on a bare machine

    made = HuggingFaceEmbedding(
        str(folder),
        device=compute.device.type,
        query_instruction=shape.query_prefix,
        model_kwargs={"dtype": compute.dtype},
    )
    return Shared(
        "HuggingFaceEmbedding (LlamaIndex)", made.get_query_embedding, made.aget_query_embedding, lambda: None
    )


def _locked(folder: Path, shape: Shape, compute: Compute) -> Shared:
    model = PaddedTransformers(folder, shape, compute)
    lock = threading.Lock()

    def embed(query: str) -> Any:
        with lock:
            return model.embed(Texts([query], "query", []), 1)

    return Shared("transformers behind a lock", embed, partial(asyncio.to_thread, embed), model.close)


def by_threads(shared: Shared, queries: list[str]) -> list[float]:
    """Call from a thread for each query, all at once."""
    waits = [0.0] * len(queries)
    all_ready = threading.Barrier(len(queries))

    def call(position: int) -> None:
        all_ready.wait()
        started = time.perf_counter()
        shared.embed(queries[position])
        waits[position] = time.perf_counter() - started

    callers = [threading.Thread(target=call, args=(position,)) for position in range(len(queries))]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return waits


def by_asyncio(shared: Shared, queries: list[str]) -> list[float]:
    """Call from a coroutine for each query, all at once in one event loop."""

    async def call(query: str, started: float) -> float:
        await shared.aembed(query)
        return time.perf_counter() - started

    async def call_all() -> list[float]:
        started = time.perf_counter()
        return list(await asyncio.gather(*(call(query, started) for query in queries)))

    return asyncio.run(call_all())


def one_by_one(shared: Shared, queries: list[str]) -> list[float]:
    """Call with one query after the other, from one thread."""
    waits = []
    for query in queries:
        started = time.perf_counter()
        shared.embed(query)
        waits.append(time.perf_counter() - started)
    return waits
