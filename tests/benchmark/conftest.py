from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from qwen_embed_integrations import Embedder, ModelProfile, Reranker
from qwen_embed_integrations.benchmark import Dataset, IndexSettings
from qwen_embed_integrations.benchmark.shared_parts import SharedParts
from qwen_embed_integrations.engine import Batch, Usage
from qwen_embed_integrations.errors import ServerConnectionError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
    from pathlib import Path

    import loopback

SIZE = 64


class HashedWordsEngine:
    """A small real embedding: each word adds one to a place its hash picks."""

    def __init__(self, size: int = SIZE) -> None:
        self.identity = {"model": "hashed-words", "revision": None}
        self.size = size
        self.calls: list[int] = []
        self._tokens = 0

    @property
    def usage(self) -> Usage:
        return Usage(tokens=self._tokens)

    def embed(self, texts: Sequence[str]) -> Iterator[Batch]:
        self.calls.append(len(texts))
        rows = np.full((len(texts), self.size), 1e-3, np.float32)
        for row, text in zip(rows, texts, strict=True):
            words = re.findall(r"\w+", text.lower())
            self._tokens += len(words)
            for word in words:
                row[zlib.crc32(word.encode()) % self.size] += 1
        yield Batch(range(len(texts)), rows)

    async def aembed(self, texts: Sequence[str]) -> AsyncGenerator[Batch, None]:
        for batch in self.embed(texts):
            yield batch

    def close(self) -> None: ...

    async def aclose(self) -> None: ...


class RefusedEngine(HashedWordsEngine):
    """A server that is not there."""

    def embed(self, texts: Sequence[str]) -> Iterator[Batch]:
        self.calls.append(len(texts))
        raise ServerConnectionError("nobody answers at http://127.0.0.1:9/v1", url="http://127.0.0.1:9/v1")


PROFILE = ModelProfile(name="hashed-words", dimensions=SIZE, min_dimensions=1)


@pytest.fixture
def engine() -> HashedWordsEngine:
    return HashedWordsEngine()


@pytest.fixture
def embedder(engine: HashedWordsEngine) -> Embedder:
    return Embedder(engine, PROFILE)


@pytest.fixture
def refused() -> Embedder:
    return Embedder(RefusedEngine(), PROFILE)


@pytest.fixture
def reranker(reranker_server: loopback.Server) -> Iterator[Reranker]:
    with Reranker.served("tiny-reranker", base_url=reranker_server.base_url) as served:
        yield served


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """Documents of twelve words out of eighty; a query is three words of its document and one of elsewhere."""
    random = np.random.default_rng(7)
    words = [
        f"{first}{second}" for first in "bdfglmnprst" for second in ("ako", "elu", "iro", "uma", "ane", "osi", "ilo")
    ]
    documents, queries = {}, {}
    for index in range(60):
        chosen = random.choice(words, 12)
        documents[f"d{index:02}"] = " ".join(chosen)
        queries[f"q{index:02}"] = " ".join([*random.choice(chosen, 3, replace=False), random.choice(words)])
    return Dataset(
        name="words",
        documents=documents,
        queries=queries,
        relevance={f"q{index:02}": {f"d{index:02}": 1} for index in range(60)},
        about={"source": "made up"},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Write a folder in BEIR's layout; a string stands for the file's whole content."""

    def write(corpus: object = None, queries: object = None, qrels: str | None = None, name: str = "set") -> Path:
        place = tmp_path / name
        place.mkdir()
        default = [{"_id": "d1", "title": "", "text": "the cat sat"}, {"_id": "d2", "title": "Dogs", "text": "run far"}]
        for file, content in (
            ("corpus.jsonl", default if corpus is None else corpus),
            ("queries.jsonl", [{"_id": "q1", "text": "who sat?"}] if queries is None else queries),
        ):
            lines = content if isinstance(content, str) else "\n".join(map(json.dumps, content))  # type: ignore[call-overload]
            (place / file).write_text(lines, encoding="utf-8")
        (place / "qrels.tsv").write_text(
            "query-id\tcorpus-id\tscore\nq1\td1\t1\n" if qrels is None else qrels, encoding="utf-8"
        )
        return place

    return write


@pytest.fixture
def shared(dataset: Dataset, tmp_path: Path) -> Iterator[SharedParts]:
    with SharedParts(dataset, tmp_path, IndexSettings(), depth=100) as opened:
        yield opened
