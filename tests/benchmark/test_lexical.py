from __future__ import annotations

import pytest

from qwen_embed_integrations.benchmark.lexical import LexicalIndex, tokenize


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Two plain WORDS.", ["two", "plain", "words"]),
        ("parse_qs_list", ["parse_qs_list", "parse", "qs", "list"]),
        ("getHTTPResponse", ["gethttpresponse", "get", "http", "response"]),
        ("__init__", ["__init__", "init"]),
        ("utf8", ["utf8", "utf", "8"]),
        ("don't", ["don", "t"]),
        ("Überprüfung naïve", ["überprüfung", "naïve"]),
        ("战国无双", ["战国", "国无", "无双"]),
        ("三", ["三"]),
        ("第3章 ABC公司", ["第", "3", "章", "abc", "公司"]),
        ("ひらカナ", ["ひら", "らカ", "カナ"]),
        ("한국어 말", ["한국", "국어", "말"]),
        ("ﾊﾛｰ ＡＢＣ", ["ハロ", "ロー", "abc"]),  # noqa: RUF001 half and full width
        ("ไทยดี", ["ไท", "ทย", "ยด", "ดี"]),
        ("किताब", ["किताब"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("كِتَابٌ", ["كِتَابٌ"]),
        ("தமிழ்", ["தமிழ்"]),
        ("x\u0301y", ["x\u0301y"]),  # no single character for it
        ("1\ufe0f\u20e3", ["1"]),  # a keycap
        ("", []),
        ("+-*/", []),
    ],
)
def test_a_text_becomes_terms(text: str, terms: list[str]) -> None:
    assert tokenize(text) == terms


def test_a_question_in_words_finds_an_identifier() -> None:
    index = LexicalIndex({"a": "def readHTTPHeader(): ...", "b": "def write_body(): ..."})
    assert list(index.search("read the header", 5)) == ["a"]


def test_a_chinese_question_finds_its_passage() -> None:
    index = LexicalIndex({"a": "光荣公司开发了战国无双", "b": "北京是中国的首都"})
    assert list(index.search("谁开发了战国无双", 5)) == ["a"]


def test_documents_without_a_shared_term_are_not_found() -> None:
    index = LexicalIndex({"a": "cat", "b": "dog"})
    assert set(index.search("cat", 5)) == {"a"}
    assert index.search("bird", 5) == {}
    assert index.search("?!", 5) == {}


def test_a_rare_word_weighs_more_than_a_common_one() -> None:
    index = LexicalIndex({"a": "the the", "b": "the heron", "c": "the cat", "d": "the dog"})
    assert next(iter(index.search("the heron", 5))) == "b"


def test_equal_scores_at_the_end_go_to_the_higher_ids() -> None:
    index = LexicalIndex(dict.fromkeys("abcde", "cat"))
    assert list(index.search("cat", 2)) == ["e", "d"]


def test_a_document_without_any_term_is_no_obstacle() -> None:
    index = LexicalIndex({"a": "...", "b": "cat"})
    assert set(index.search("cat", 5)) == {"b"}
