from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from qwen_embed_integrations.benchmark.datasets import load, stdlib_code
from qwen_embed_integrations.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_embed_integrations.benchmark import Dataset

    Build = Callable[..., Dataset]

USEFUL = '''
def shorten(text, width):
    """Collapse and truncate the given words to fit a column. And more."""
    words = text.split()
    return " ".join(words)[:width]
'''


@pytest.fixture
def build(tmp_path: Path) -> Build:
    def write(source: str, name: str = "textwrap.py") -> Dataset:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(source), encoding="utf-8")
        return stdlib_code.load(tmp_path)

    return write


@pytest.fixture(scope="module")
def real() -> Dataset:
    return load("stdlib-code")


def test_the_query_is_the_first_sentence_and_the_document_the_source_without_it(build: Build) -> None:
    dataset = build(USEFUL)
    assert dataset.queries == {"textwrap.py:shorten": "Collapse and truncate the given words to fit a column."}
    assert dataset.documents == {
        "textwrap.py:shorten": 'def shorten(text, width):\n    words = text.split()\n    return " ".join(words)[:width]'
    }


def test_methods_lose_their_indentation_and_keep_their_decorators(build: Build) -> None:
    dataset = build('''
        class Wrapper:
            @property
            def width(self):
                """Tell how many columns the text may take
                before a new line begins."""
                limit = self._limit
                return limit or 70
    ''')
    assert dataset.queries == {
        "textwrap.py:Wrapper.width": "Tell how many columns the text may take before a new line begins."
    }
    assert dataset.documents["textwrap.py:Wrapper.width"] == (
        "@property\ndef width(self):\n    limit = self._limit\n    return limit or 70"
    )


def test_functions_of_a_fallback_are_found(build: Build) -> None:
    assert build("try:\n    import fast\nexcept ImportError:\n" + USEFUL.replace("\n", "\n    ")).queries


def test_a_form_feed_does_not_shift_lines(build: Build) -> None:
    source = build("import re\n\x0c\n" + USEFUL).documents["textwrap.py:shorten"]
    assert source.startswith("def shorten(text, width):\n    words")


def test_an_abbreviation_does_not_end_the_sentence(build: Build) -> None:
    dataset = build(USEFUL.replace("given words", "given words, e.g. a title,"))
    assert list(dataset.queries.values()) == ["Collapse and truncate the given words, e.g. a title, to fit a column."]


@pytest.mark.parametrize(
    "docstring",
    [
        "shorten(text, width) -> Collapse and truncate the given words.",
        "shorten(text) collapses and truncates the given words.",
        "Shorten the text to a width.",  # the signature in other words
        "Return the shorten text width.",
        "Collapse words.",
        ">>> shorten('Collapse and truncate the given words', 3)",
        "Collapse " + "and truncate " * 40 + "words.",
    ],
)
def test_a_docstring_that_is_no_purpose_makes_no_query(build: Build, docstring: str) -> None:
    source = USEFUL.replace("Collapse and truncate the given words to fit a column. And more.", docstring)
    with pytest.raises(InvalidInputError, match="holds no documented Python source"):
        build(source)


@pytest.mark.parametrize(
    "body",
    [
        "pass",
        "...",
        "raise NotImplementedError\n    # nothing\n    # here",
        "return text",
        "# only\n    # comments\n    pass",
    ],
)
def test_a_trivial_function_makes_no_document(build: Build, body: str) -> None:
    with pytest.raises(InvalidInputError, match="holds no documented Python source"):
        build(f'def shorten(text):\n    """Collapse and truncate the given words to fit."""\n    {body}\n')


@pytest.mark.parametrize(
    "source",
    [
        USEFUL.replace("    return", "    words.sort()\n" * 30 + "    return"),
        USEFUL.replace("def shorten", "def _shorten"),
        "def outer():\n" + USEFUL.replace("\n", "\n    "),
        'def shorten(a,\n            b): "Collapse and truncate the given words."; return a\n\n\n',
        USEFUL.replace("    words = ", "    # Collapse and truncate  the given words to fit a column.\n    words = "),
    ],
    ids=[
        "longer than models read",
        "private",
        "inside another",
        "docstring on a line with code",
        "query repeated in the source",
    ],
)
def test_what_would_be_unfair_or_broken_is_left_out(build: Build, source: str) -> None:
    with pytest.raises(InvalidInputError, match="holds no documented Python source"):
        build(source)


@pytest.mark.parametrize(
    "name", ["test/support.py", "json/tests/test_json.py", "idlelib/run.py", "site-packages/x.py", "mine.py"]
)
def test_what_is_no_library_is_left_out(build: Build, name: str) -> None:
    assert list(build(USEFUL).queries) == ["textwrap.py:shorten"]
    assert list(build(USEFUL.replace("Collapse", "Squeeze").replace("words[", "all["), name).queries) == [
        "textwrap.py:shorten"
    ]


def test_a_repeated_query_or_source_counts_once(build: Build) -> None:
    same_query = USEFUL.replace("shorten", "cut").replace("width]", "width + 1]")
    same_source = USEFUL.replace("Collapse", "Squeeze")
    assert list(build(USEFUL + same_query + same_source).queries) == ["textwrap.py:shorten"]


def test_the_running_python_gives_at_least_1500_functions(real: Dataset) -> None:
    assert len(real.queries) >= 1500
    assert real.about["source"].endswith(sys.version.split()[0])


def test_no_query_stands_in_its_own_document(real: Dataset) -> None:
    assert not [key for key, query in real.queries.items() if query in real.documents[key]]


def test_documents_are_python(real: Dataset) -> None:
    broken = []
    for key, source in real.documents.items():
        try:
            compile(source, key, "exec", dont_inherit=True)
        except SyntaxError:
            broken.append(key)
    assert broken == []


def test_the_dataset_does_not_depend_on_the_hash_seed(tmp_path: Path) -> None:
    library = Path(sysconfig.get_paths()["stdlib"])
    for name in ("heapq.py", "textwrap.py", "json", "logging"):
        (tmp_path / name).symlink_to(library / name)
    code = (
        "import sys, pathlib; from qwen_embed_integrations.benchmark.datasets import stdlib_code;"
        "print(stdlib_code.load(pathlib.Path(sys.argv[1])).sha256)"
    )
    found = {
        subprocess.run(  # noqa: S603 our own code
            [sys.executable, "-c", code, str(tmp_path)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert found == {f"{stdlib_code.load(tmp_path).sha256}\n"}
