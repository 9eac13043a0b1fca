"""Datasets: one built from the reader's own Python, and any folder in BEIR's layout."""

from __future__ import annotations

from pathlib import Path

from qwen_embed_integrations.benchmark.datasets import beir, stdlib_code
from qwen_embed_integrations.benchmark.datasets.types import Dataset
from qwen_embed_integrations.errors import InvalidInputError


def load(data: str | Path, *, queries: Path | None = None, qrels: Path | None = None) -> Dataset:
    """Load a dataset by name or from a folder.

    Args:
        data: `"stdlib-code"`, or a folder in BEIR's layout.
        queries: Query file, where it is not in the folder.
        qrels: Judgements, where they are not in the folder.

    Returns:
        The dataset.

    Raises:
        InvalidInputError: If the folder or a file in it cannot be used.
    """
    if data == stdlib_code.NAME:
        if queries is not None or qrels is not None:
            raise InvalidInputError(
                f"`queries` and `qrels` belong to a folder; {stdlib_code.NAME} brings its own.", parameter="data"
            )
        return stdlib_code.load()
    return beir.load(Path(data), queries=queries, qrels=qrels)


__all__ = ["Dataset", "load"]
