"""stdlib-code: find a function of Python's standard library by what its docstring says it does."""

from __future__ import annotations

import ast
import platform
import re
import sys
import sysconfig
import tokenize
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from qwen_embed_integrations.benchmark.datasets.types import Dataset
from qwen_embed_integrations.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NAME = "stdlib-code"

# Tests repeat each other, IDLE and 2to3 are applications, and bundles are other people's packages.
_SKIPPED_FOLDERS = {
    "__pycache__",
    "_bundled",
    "_vendor",
    "idle_test",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "site-packages",
    "test",
    "tests",
    "turtledemo",
}
_MIN_QUERY_WORDS = 4
_MAX_QUERY_CHARACTERS = 300
_MIN_NEW_WORDS = 2
_MIN_LINES = 3
# Small models read about 256 tokens: of longer functions they would see the beginning only.
_MAX_LINES = 30

_SENTENCE = re.compile(r".+?[.!?](?=\s+[A-Z\"'(`]|$)")
_SIGNATURE = re.compile(r"[\w.\[\]]+\s*\(|.*->")
_WORD = re.compile(r"[^\W\d_]+")
_IDENTIFIER_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# Words that say nothing a signature does not.
_EMPTY_WORDS = frozenset(
    {"a", "an", "and", "as", "by", "for", "from", "get", "if", "in", "is", "it", "method", "of", "or", "return"}
    | {"returns", "same", "self", "set", "the", "this", "to"}
)

_Function = (ast.FunctionDef, ast.AsyncFunctionDef)


class Pair(NamedTuple):
    """A function's purpose and its source."""

    id: str
    query: str
    document: str


def load(root: Path | None = None) -> Dataset:
    """Build the dataset from a standard library.

    The query is the first sentence of a public function's docstring; the document is the function's source without
    that docstring. Functions inside functions, trivial and long ones, and repeated queries or sources are left out.

    Args:
        root: Folder of the library; None takes that of the running Python.

    Returns:
        One relevant document for each query; the same for the same library.

    Raises:
        InvalidInputError: If the folder holds no usable function, as where a Python comes without its sources.
    """
    folder = root or Path(sysconfig.get_paths()["stdlib"])
    pairs = list(_distinct(_pairs(folder)))
    if not pairs:
        raise InvalidInputError(
            f"`data` {NAME!r}: {str(folder)!r} holds no documented Python source. Use a Python that comes with the "
            "sources of its standard library, or pass a folder in BEIR's layout.",
            parameter="data",
        )
    return Dataset(
        name=NAME,
        documents={pair.id: pair.document for pair in pairs},
        queries={pair.id: pair.query for pair in pairs},
        relevance={pair.id: {pair.id: 1} for pair in pairs},
        about={"source": f"standard library of {platform.python_implementation()} {platform.python_version()}"},
    )


def _distinct(pairs: Iterable[Pair]) -> Iterator[Pair]:
    seen: set[str] = set()
    for pair in pairs:
        # One set for ids, queries and sources: they cannot be mistaken for each other.
        marks = {pair.id, _plain(pair.query), _plain(pair.document)}
        if seen.isdisjoint(marks):
            seen |= marks
            yield pair


def _pairs(folder: Path) -> Iterator[Pair]:
    for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).parts):
        parts = path.relative_to(folder).parts
        if parts[0].removesuffix(".py") not in sys.stdlib_module_names or _SKIPPED_FOLDERS.intersection(parts):
            continue
        try:
            with tokenize.open(path) as file:
                source = file.read()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # old escapes in old modules
                tree = ast.parse(source)
        except (SyntaxError, UnicodeDecodeError):
            continue  # a template or a test of the parser
        lines = source.split("\n")  # str.splitlines would also split at form feeds, which ast does not count
        module = "/".join(parts)
        for name, node in _functions(tree):
            query = _query(node)
            document = _document(node, lines) if query else None
            if query and document and _plain(query) not in _plain(document):
                yield Pair(f"{module}:{name}", query, document)


def _functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _Function):
            if not child.name.startswith("_"):
                yield prefix + child.name, child
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, (ast.stmt, ast.ExceptHandler)):
            yield from _functions(child, prefix)  # under an if or a try


def _query(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str | None:
    paragraph = (ast.get_docstring(node) or "").partition("\n\n")[0]
    text = " ".join(paragraph.split())
    sentence = _SENTENCE.match(text)
    query = sentence[0] if sentence else text
    words = [word.lower() for word in _WORD.findall(query)]
    if len(words) < _MIN_QUERY_WORDS or len(query) > _MAX_QUERY_CHARACTERS:
        return None
    if _SIGNATURE.match(query) or ">>>" in query:
        return None
    names = [node.name, *(argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg))]
    known = {part.lower() for name in names for part in [name, *_IDENTIFIER_PART.findall(name)]}
    new = set(words) - known - _EMPTY_WORDS
    return query if len(new) >= _MIN_NEW_WORDS else None


def _document(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> str | None:
    docstring, *body = node.body
    if not any(map(_does_something, body)):
        return None
    start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    end = docstring.end_lineno or docstring.lineno
    head, tail = lines[start - 1 : docstring.lineno - 1], lines[end : node.end_lineno]
    if lines[docstring.lineno - 1][: docstring.col_offset].strip() or body[0].lineno == end:
        return None  # the docstring shares a line with code
    kept = [line[node.col_offset :] if not line[: node.col_offset].strip() else line for line in head + tail]
    while kept and not kept[-1].strip():
        kept.pop()
    fits = sum(bool(line.strip()) for line in kept) >= _MIN_LINES and len(kept) <= _MAX_LINES
    return "\n".join(kept) if fits else None


def _does_something(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Raise):
        return "NotImplementedError" not in ast.dump(statement)
    constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return not (constant or isinstance(statement, ast.Pass))


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
