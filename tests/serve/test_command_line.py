from __future__ import annotations

import shlex

import pytest

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.serve.command_line import Command, Flag, with_extra

COMMAND = Command(
    ("sglang", "serve"),
    (
        Flag("--model-path", "a model"),
        Flag("--is-embedding", reason="vectors are wanted"),
        Flag("--json-model-override-args", '{"is_matryoshka": true}'),
        Flag("--api-key", "KEY", secret=True),
    ),
    {"SGLANG_USE_CPU_ENGINE": "1"},
    {"OTHER_KEY": "KEY"},
)


def test_the_shell_reads_what_is_executed() -> None:
    words = shlex.split(COMMAND.shell())
    assert words[:2] == ["SGLANG_USE_CPU_ENGINE=1", "OTHER_KEY=$KEY"]
    assert [word.replace("$KEY", "hush") for word in words[2:]] == COMMAND.argv({"KEY": "hush"})


def test_a_key_is_shown_by_the_name_of_its_variable() -> None:
    assert '--api-key "$KEY"' in COMMAND.shell()
    assert COMMAND.variables({"KEY": "hush"})["OTHER_KEY"] == "hush"


def test_lines_are_continued_as_a_shell_wants_it() -> None:
    joined = COMMAND.shell(lines=True).replace(" \\\n  ", " ")
    assert joined == COMMAND.shell()
    assert COMMAND.shell(lines=True).count("\n") == 6


def test_reasons_name_their_flags() -> None:
    assert COMMAND.reasons == ["--is-embedding: vectors are wanted"]


def test_the_callers_option_replaces_ours() -> None:
    changed, replaced = with_extra(COMMAND, ["--json-model-override-args={}", "--max-total-tokens", "8192"])
    assert replaced == ["--json-model-override-args"]
    assert changed.argv({"KEY": "k"})[-3:] == ["--json-model-override-args={}", "--max-total-tokens", "8192"]
    assert changed.shell().count("--json-model-override-args") == 1


def test_an_underscore_in_the_callers_option_is_a_dash() -> None:
    _, replaced = with_extra(COMMAND, ["--is_embedding"])
    assert replaced == ["--is-embedding"]


def test_a_negative_number_is_a_value() -> None:
    changed, _ = with_extra(COMMAND, ["--chunked-prefill-size", "-1"])
    assert changed.shell(lines=True).endswith("\n  --chunked-prefill-size -1")


@pytest.mark.parametrize(("words", "named"), [(["--port", "1"], "--port"), (["--api_key=x"], "--api-key-env")])
def test_what_decides_where_the_server_is_cannot_go_to_the_engine(words: list[str], named: str) -> None:
    with pytest.raises(InvalidInputError, match=f"use {named} before it"):
        with_extra(COMMAND, words)


def test_a_stray_word_is_no_option() -> None:
    with pytest.raises(InvalidInputError, match="`other` is one argument too many"):
        with_extra(COMMAND, ["other"])


@pytest.mark.parametrize(("word", "named"), [("--hos=0.0.0.0", "--host"), ("--api-k=x", "--api-key-env")])
def test_an_option_that_is_cut_short_is_the_one_it_begins(word: str, named: str) -> None:
    with pytest.raises(InvalidInputError, match=f"use {named} before it"):
        with_extra(COMMAND, [word])


@pytest.mark.parametrize(
    "words", [["--admin-api-key", "hush"], ["--admin_api_key=hush"], ["--admin-api", "hush"], ["--hf-token", "hush"]]
)
def test_a_key_among_the_callers_options_is_not_shown(words: list[str]) -> None:
    changed, _ = with_extra(COMMAND, [*words, "--max-total-tokens", "8192"])
    assert "hush" not in changed.shell()
    assert changed.shell().endswith("*** --max-total-tokens 8192")
    assert changed.extra_secrets == ["hush"]
    assert changed.argv({"KEY": "k"})[-2 - len(words) :] == [*words, "--max-total-tokens", "8192"]


def test_a_file_among_the_callers_options_is_shown() -> None:
    changed, _ = with_extra(COMMAND, ["--config", "engine.yaml"])
    assert changed.shell().endswith("--config engine.yaml")


@pytest.mark.parametrize("words", [["--ssl-keyfile", "k.pem"], ["--ssl_certfile=c.pem"], ["--enable-ssl-refresh"]])
def test_an_encrypted_server_would_never_be_found_ready(words: list[str]) -> None:
    with pytest.raises(InvalidInputError, match=r"plain HTTP.*a proxy that ends TLS in front"):
        with_extra(COMMAND, words)
