from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qwen_embed_integrations.benchmark import load
from qwen_embed_integrations.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Folder = Callable[..., Path]


def test_a_folder_is_read_and_named_like_itself(folder: Folder) -> None:
    dataset = load(folder())
    assert dataset.name == "set"
    assert dataset.queries == {"q1": "who sat?"}
    assert dataset.relevance == {"q1": {"d1": 1}}


def test_a_title_is_joined_with_a_space_and_an_empty_one_is_not(folder: Folder) -> None:
    assert load(folder()).documents == {"d1": "the cat sat", "d2": "Dogs run far"}


def test_a_missing_or_null_title_is_none(folder: Folder) -> None:
    corpus = [{"_id": "d1", "text": "a"}, {"_id": "d2", "title": None, "text": "b"}]
    assert list(load(folder(corpus)).documents.values()) == ["a", "b"]


def test_judgements_may_be_in_the_test_file_of_a_folder(folder: Folder) -> None:
    place = folder()
    (place / "qrels").mkdir()
    (place / "qrels.tsv").rename(place / "qrels" / "test.tsv")
    assert load(place).relevance == {"q1": {"d1": 1}}


def test_judgements_and_queries_may_be_elsewhere(folder: Folder) -> None:
    place, other = folder(), folder(queries=[{"_id": "x", "text": "runs?"}], qrels="x\td2\t1\n", name="other")
    dataset = load(place, queries=other / "queries.jsonl", qrels=other / "qrels.tsv")
    assert dataset.queries == {"x": "runs?"}
    assert dataset.relevance == {"x": {"d2": 1}}


def test_judgements_without_a_header_lose_no_line(folder: Folder) -> None:
    assert load(folder(qrels="q1\td1\t1\nq1\td2\t2\n")).relevance == {"q1": {"d1": 1, "d2": 2}}


def test_only_queries_with_a_relevant_document_are_used(folder: Folder) -> None:
    queries = [{"_id": name, "text": name} for name in ("q1", "q2", "q3")]
    dataset = load(folder(queries=queries, qrels="q1\td1\t1\nq2\td2\t0\n"))
    assert list(dataset.queries) == ["q1"]
    assert dataset.about["queries without a relevant document left out"] == 2


def test_blank_documents_are_left_out_and_counted(folder: Folder) -> None:
    corpus = [{"_id": "d1", "text": "a"}, {"_id": "d2", "title": " ", "text": "\n"}]
    dataset = load(folder(corpus, qrels="q1\td1\t1\nq1\td2\t1\n"))
    assert list(dataset.documents) == ["d1"]
    assert dataset.relevance == {"q1": {"d1": 1, "d2": 1}}  # not found, but not forgiven
    assert dataset.about["blank documents left out"] == 1


def test_ids_that_are_numbers_are_read_as_text(folder: Folder) -> None:
    dataset = load(folder([{"_id": 7, "text": "a"}], [{"_id": 1, "text": "b"}], "1\t7\t1\n"))
    assert dataset.relevance == {"1": {"7": 1}}


def test_a_byte_order_mark_is_no_part_of_the_text(folder: Folder) -> None:
    assert load(folder(corpus='\ufeff{"_id": "d1", "text": "a"}\n')).documents == {"d1": "a"}


def test_unusual_line_separators_stay_inside_a_text(folder: Folder) -> None:
    assert load(folder(corpus='{"_id": "d1", "text": "a\u2028b\u0085c"}\n')).documents == {"d1": "a\u2028b\u0085c"}


def test_texts_that_are_not_utf_8_are_refused_by_file(folder: Folder) -> None:
    place = folder()
    (place / "corpus.jsonl").write_bytes(b'{"_id": "d1", "text": "caf\xe9"}\n')
    with pytest.raises(InvalidInputError, match=r"corpus\.jsonl is not UTF-8"):
        load(place)


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        ('{"_id": "d1", "text": "a"}\n{"_id": "d2"', r"corpus\.jsonl, line 2: not JSON"),
        ('\n["d1"]\n', r"corpus\.jsonl, line 2: no object with an `_id`"),
        ('{"text": "a"}', r"line 1: no object with an `_id`"),
        ('{"_id": "d1"}', r"line 1: `text` is missing"),
        ('{"_id": "d1", "text": 3}', r"line 1: `text` is no text"),
        ('{"_id": "d1", "text": "a", "title": 3}', r"line 1: `title` is no text"),
        ('{"_id": "d1", "text": "a"}\n{"_id": "d1", "text": "b"}', r"line 2: `_id` 'd1' comes twice"),
        ('{"_id": "d1", "text": " "}', r"no document that is not blank"),
    ],
)
def test_a_bad_corpus_is_refused_by_line(folder: Folder, corpus: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as refused:
        load(folder(corpus))
    assert refused.value.parameter == "data"


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        ("query-id\tcorpus-id\tscore\nq1 d1 1\n", r"qrels\.tsv, line 2: 1 columns"),
        ("q1\t0\td1\t1\n", r"line 1: 4 columns"),
        ("q1\td1\t1\nq1\td2\tyes\n", r"line 2: the score 'yes'"),
        ("q1\td1\t0.5\nq1\td1\t1\n", r"line 1: the score '0\.5' is no whole number"),
        ("query-id\tcorpus-id\tscore\nq1\td1\tnan\n", r"line 2: the score 'nan'"),
        ("q1\td1\t1\nq9\td1\t1\n", r"line 2: query 'q9' is not among the queries"),
        ("q1\td9\t1\n", r"line 1: document 'd9' is not in the corpus"),
        ("query-id\tcorpus-id\tscore\n", r"no query with a relevant document"),
        ("q1\td1\t0\n", r"no query with a relevant document"),
    ],
)
def test_bad_judgements_are_refused_by_line(folder: Folder, qrels: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        load(folder(qrels=qrels))


def test_a_judged_query_that_is_blank_is_refused(folder: Folder) -> None:
    with pytest.raises(InvalidInputError, match=r"'q1' is judged but blank"):
        load(folder(queries=[{"_id": "q1", "text": " "}]))


@pytest.mark.parametrize("missing", ["corpus.jsonl", "queries.jsonl", "qrels.tsv"])
def test_a_missing_file_is_named_beside_what_is_there(folder: Folder, missing: str) -> None:
    place = folder()
    (place / missing).unlink()
    with pytest.raises(InvalidInputError, match=rf"has no {missing}.*; it holds \w+\.\w+, "):
        load(place)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"is no folder\. Pass 'stdlib-code'"):
        load(tmp_path / "nowhere")


def test_a_missing_file_given_by_name_is_refused(folder: Folder, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"nowhere\.tsv cannot be read: No such file"):
        load(folder(), qrels=tmp_path / "nowhere.tsv")


@pytest.mark.parametrize(
    ("file", "lines", "name"),
    [
        ("corpus.jsonl", ['{"_id": "d1", "text": "a"}', r'{"_id": "d2", "text": "half \ud83d"}'], "text"),
        ("corpus.jsonl", ['{"_id": "d1", "text": "a"}', r'{"_id": "d2", "title": "\ude00", "text": "b"}'], "title"),
        ("queries.jsonl", ['{"_id": "q1", "text": "a"}', r'{"_id": "q\udfff", "text": "b"}'], "_id"),
    ],
)
def test_half_a_character_is_refused_by_line(folder: Folder, file: str, lines: list[str], name: str) -> None:
    place = folder()
    (place / file).write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InvalidInputError, match=rf"{file}, line 2: `{name}` holds '\\ud[0-9a-f]+', half of") as refused:
        load(place)
    str(refused.value).encode()  # it can be printed


def test_a_character_spelled_in_two_halves_is_whole(folder: Folder) -> None:
    corpus = r'{"_id": "d1", "text": "\ud83d\ude00"}'
    assert load(folder(corpus)).documents == {"d1": "\U0001f600"}


def test_scores_may_be_written_as_whole_floats(folder: Folder) -> None:
    assert load(folder(qrels="q1\td1\t1.0\nq1\td2\t2.0\n")).relevance == {"q1": {"d1": 1, "d2": 2}}


def test_judgements_without_worth_of_unknown_documents_are_ignored(folder: Folder) -> None:
    dataset = load(folder(qrels="q1\td1\t1\nq1\tgone\t0\nq1\tspam\t-2\nq1\td2\t0\n"))
    assert dataset.relevance == {"q1": {"d1": 1, "d2": 0}}
