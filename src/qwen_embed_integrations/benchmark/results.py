"""The results of a run: plain data, one file on disk."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qwen_embed_integrations.benchmark.significance import Interval

FORMAT = 1


@dataclass(frozen=True)
class Comparison:
    """One system against the first, on nDCG@10.

    Attributes:
        against: Name of the first system.
        difference: Mean difference, this system minus the first.
        p_value: Of the paired randomisation test.
        corrected_p_value: After Holm's correction for all comparisons of the run.
    """

    against: str
    difference: Interval
    p_value: float
    corrected_p_value: float


@dataclass(frozen=True)
class Indexing:
    """What making the documents searchable took.

    Attributes:
        documents: How many.
        tokens: Tokens the embedding model read, 0 where there is none.
        embed_seconds: Embedding; None where the system has no embedding model.
        store_seconds: Storing in Chroma, or building BM25.
        embed_documents_per_second: Documents by time to embed; None as above.
        store_documents_per_second: Documents by time to store.
    """

    documents: int
    tokens: int
    embed_seconds: float | None
    store_seconds: float
    embed_documents_per_second: float | None
    store_documents_per_second: float


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one query, sent alone.

    Attributes:
        p50: Half of the queries are faster.
        p95: 95 of 100 are faster.
        p99: 99 of 100 are faster.
    """

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class IndexCheck:
    """How Chroma's approximate search compares with exact search over the same vectors.

    Attributes:
        recall_at_10: Share of the exact ten neighbours that Chroma finds.
        exact: Means of the metrics with exact search.
    """

    recall_at_10: float
    exact: dict[str, float]


@dataclass(frozen=True)
class SystemResult:
    """What one system gave, or why it gave nothing.

    Attributes:
        name: Its name.
        kind: `"dense"`, `"lexical"`, `"fusion"` or `"reranked"`.
        settings: What shaped it.
        error: Why it failed; then only this and what is above is filled.
        metrics: Mean and interval of each metric.
        comparison: Against the first system; None for the first itself.
        indexing: What indexing took.
        latency: For `"total"` and each stage: `"embed"`, `"search"`, `"rerank"`.
        index_check: For dense systems.
        memory_before_mib: Resident memory of the process when it began.
        memory_peak_mib: Most resident memory of the process while it ran.
        notes: Warnings it gave.
    """

    name: str
    kind: str
    settings: dict[str, Any]
    error: str | None = None
    metrics: dict[str, Interval] = field(default_factory=dict)
    comparison: Comparison | None = None
    indexing: Indexing | None = None
    latency: dict[str, Latency] = field(default_factory=dict)
    index_check: IndexCheck | None = None
    memory_before_mib: float | None = None
    memory_peak_mib: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Example:
    """A query to look at.

    Attributes:
        query: Its text.
        document: A relevant document, shortened.
        ranks: By system, the rank of its first relevant document; None where it did not find one.
    """

    query: str
    document: str
    ranks: dict[str, int | None]


@dataclass(frozen=True)
class Results:
    """All of a run.

    Attributes:
        created: When it began, UTC, ISO 8601.
        complete: Whether every system was tried; False in what an unfinished run left.
        dataset: Name, sizes, SHA-256 and origin.
        settings: Everything that was set.
        versions: Of Python and packages.
        hardware: Processor, cores, memory, GPUs.
        systems: In the order they were given.
        examples: Some queries.
        format: Version of this layout.
    """

    created: str
    complete: bool
    dataset: dict[str, Any]
    settings: dict[str, Any]
    versions: dict[str, str]
    hardware: dict[str, Any]
    systems: tuple[SystemResult, ...]
    examples: tuple[Example, ...] = ()
    format: int = FORMAT

    @property
    def finished(self) -> list[SystemResult]:
        """The systems that gave results."""
        return [system for system in self.systems if system.error is None]

    @property
    def failed(self) -> list[SystemResult]:
        """The systems that did not."""
        return [system for system in self.systems if system.error is not None]

    def write(self, path: Path) -> None:
        """Write as JSON, whole or not at all.

        Args:
            path: The file.
        """
        write_whole(path, json.dumps(asdict(self), ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a file so that no reader ever sees half of it.

    Args:
        path: The file.
        text: Its new content.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        Path(name).chmod(0o644)  # mkstemp's own mode would hide the file from others
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
