"""Folders in BEIR's layout: corpus.jsonl, queries.jsonl and qrels."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from qwen_embed_integrations.benchmark.datasets.types import Dataset
from qwen_embed_integrations.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_COLUMNS = 3
# JSON can spell half of a character (`\ud800`), which is no text: it can be neither sent nor stored.
_SURROGATE = re.compile("[\ud800-\udfff]")


def load(folder: Path, *, queries: Path | None = None, qrels: Path | None = None) -> Dataset:
    """Read a folder.

    A document is its title and text with a space between, as BEIR joins them. Queries without a relevant document
    are left out; so are blank documents, which no model can embed and which then count as not found.

    Args:
        folder: Holds `corpus.jsonl`, `queries.jsonl`, and `qrels.tsv` or `qrels/test.tsv`.
        queries: Query file to take instead.
        qrels: Judgements to take instead.

    Returns:
        The dataset, named like the folder.

    Raises:
        InvalidInputError: If a file is missing or malformed, naming the line; if judgements name unknown ids; or if
            no query has a relevant document.
    """
    if not folder.is_dir():
        raise _refuse(f"`data` {str(folder)!r} is no folder. Pass 'stdlib-code' or a folder in BEIR's layout.")
    documents = dict(_documents(_find(folder, "corpus.jsonl")))
    texts = dict(_queries(queries or _find(folder, "queries.jsonl")))
    judged = _qrels(qrels or _find(folder, "qrels.tsv", "qrels/test.tsv"), texts, documents)
    relevance = {query: grades for query, grades in judged.items() if any(grade > 0 for grade in grades.values())}
    if not relevance:
        raise _refuse(f"`data` {str(folder)!r} has no query with a relevant document, so nothing can be measured.")
    for query in relevance:
        if not texts[query].strip():
            raise _refuse(f"Query {query!r} is judged but blank. Give it a text or drop its judgements.")
    blank = [document for document, text in documents.items() if not text.strip()]
    if len(blank) == len(documents):
        raise _refuse(f"`data` {str(folder)!r} has no document that is not blank.")
    about: dict[str, str | int] = {"source": f"folder {folder.resolve().name}"}
    if blank:
        about["blank documents left out"] = len(blank)
    if len(texts) > len(relevance):
        about["queries without a relevant document left out"] = len(texts) - len(relevance)
    return Dataset(
        name=folder.resolve().name,
        documents={document: text for document, text in documents.items() if text.strip()},
        queries={query: text for query, text in texts.items() if query in relevance},
        relevance={query: relevance[query] for query in texts if query in relevance},
        about=about,
    )


def _refuse(message: str) -> InvalidInputError:
    return InvalidInputError(message, parameter="data")


def _find(folder: Path, *names: str) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    content = ", ".join(sorted(entry.name for entry in folder.iterdir())[:10]) or "nothing"
    option = names[0].partition(".")[0]
    elsewhere = "" if option == "corpus" else f" If it is elsewhere, pass `{option}`."
    raise _refuse(f"`data` {str(folder)!r} has no {' or '.join(names)}; it holds {content}.{elsewhere}")


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield where each line that is not blank stands, and the line."""
    try:
        with path.open(encoding="utf-8-sig") as file:  # some tools write a byte order mark
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"{path.name}, line {number}", line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise _refuse(f"{path.name} is not UTF-8: {error}.") from error
    except OSError as error:
        raise _refuse(f"{path} cannot be read: {error.strerror}.") from error


def _records(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    seen: set[str] = set()
    for where, line in _lines(path):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise _refuse(f"{where}: not JSON: {error}.") from error
        key = record.get("_id") if isinstance(record, dict) else None
        if isinstance(key, bool) or not isinstance(key, (str, int)) or key == "":
            raise _refuse(f"{where}: no object with an `_id` of text.")
        if str(key) in seen:
            raise _refuse(f"{where}: `_id` {key!r} comes twice.")
        _check_text(where, "_id", str(key))
        seen.add(str(key))
        yield where, str(key), record


def _text(where: str, record: dict[str, Any], name: str) -> str:
    value = record.get(name, "") if name == "title" else record.get(name)
    if not isinstance(value, str):
        if name == "title" and value is None:
            return ""
        raise _refuse(f"{where}: `{name}` is {'missing' if value is None else 'no text'}.")
    _check_text(where, name, value)
    return value


def _check_text(where: str, name: str, value: str) -> None:
    surrogate = _SURROGATE.search(value)
    if surrogate:
        raise _refuse(f"{where}: `{name}` holds {surrogate[0]!a}, half of a character. Repair or drop the line.")


def _documents(path: Path) -> Iterator[tuple[str, str]]:
    for where, key, record in _records(path):
        title, text = _text(where, record, "title"), _text(where, record, "text")
        yield key, f"{title} {text}" if title.strip() else text


def _queries(path: Path) -> Iterator[tuple[str, str]]:
    for where, key, record in _records(path):
        yield key, _text(where, record, "text")


def _qrels(path: Path, queries: dict[str, str], documents: dict[str, str]) -> dict[str, dict[str, int]]:
    judged: dict[str, dict[str, int]] = {}
    for row, (where, line) in enumerate(_lines(path)):
        columns = line.split("\t")
        if len(columns) != _COLUMNS:
            raise _refuse(f"{where}: {len(columns)} columns, not query-id, corpus-id and score between tabs.")
        query, document, grade = (column.strip() for column in columns)
        value = _number(grade)
        if value is None and row == 0:
            continue  # the header
        if value is None or not value.is_integer():
            raise _refuse(f"{where}: the score {grade!r} is no whole number.")
        if query not in queries:
            raise _refuse(f"{where}: query {query!r} is not among the queries.")
        if document not in documents:
            if value <= 0:
                continue  # nothing can be gained or lost by it
            raise _refuse(f"{where}: document {document!r} is not in the corpus.")
        judged.setdefault(query, {})[document] = int(value)
    return judged


def _number(text: str) -> float | None:
    """Read a score; some tools write `1.0`."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
