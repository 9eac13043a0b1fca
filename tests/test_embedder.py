from __future__ import annotations

import copy
import pickle
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import loopback
import tiny
from qwen_embed_integrations import Embedder, ModelProfile
from qwen_embed_integrations.errors import (
    InvalidInputError,
    ModelOutputError,
    QwenEmbedError,
    UnknownModelWarning,
    WrongServerError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Make = Callable[..., Embedder]

QWEN3 = "Qwen/Qwen3-Embedding-0.6B"
DEFAULT = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
NOWHERE = "http://127.0.0.1:9/v1"


@pytest.fixture
def make(server: loopback.Server) -> Iterator[Make]:
    made: list[Embedder] = []

    def one(model: str = QWEN3, **settings: Any) -> Embedder:
        made.append(Embedder.served(model, **{"base_url": server.base_url, "max_retries": 0, **settings}))
        return made[-1]

    yield one
    for embedder in made:
        embedder.close()


def test_vectors_are_unit_length_float32_in_order(make: Make) -> None:
    vectors = make(batch_size=2).embed_documents(["a", "b", "c"])
    assert (vectors.dtype, vectors.shape) == (np.float32, (3, 1024))
    np.testing.assert_allclose(vectors, [loopback.vector(text) for text in "abc"], atol=1e-6)


def test_vectors_that_are_not_unit_length_are_made_so(server: loopback.Server, make: Make) -> None:
    def long_rows(texts: list[str]) -> loopback.Answer:
        return tiny.reply([{"index": position, "embedding": [5.0] * 1024} for position, _ in enumerate(texts)])

    server.reply(loopback.to_embeddings(long_rows))
    np.testing.assert_allclose(np.linalg.norm(make().embed_documents(["a", "b"]), axis=1), 1, atol=1e-6)


def test_a_query_gets_the_default_instruction(server: loopback.Server, make: Make) -> None:
    make().embed_queries(["cats"])
    assert server.texts() == [DEFAULT + "cats"]


def test_a_query_gets_the_objects_instruction(server: loopback.Server, make: Make) -> None:
    make(instruction="Find pets").embed_queries(["cats"])
    assert server.texts() == ["Instruct: Find pets\nQuery:cats"]


def test_the_calls_instruction_wins_over_the_objects(server: loopback.Server, make: Make) -> None:
    make(instruction="Find pets").embed_queries(["cats"], instruction="Find code")
    assert server.texts() == ["Instruct: Find code\nQuery:cats"]


def test_an_instruction_may_hold_braces(server: loopback.Server, make: Make) -> None:
    make().embed_queries(["{query} {0}"], instruction="Find {json}")
    assert server.texts() == ["Instruct: Find {json}\nQuery:{query} {0}"]


def test_a_document_gets_no_instruction(server: loopback.Server, make: Make) -> None:
    make(instruction="Find pets").embed_documents(["cats"])
    assert server.texts() == ["cats"]


async def test_async_calls_send_the_same_texts(server: loopback.Server, make: Make) -> None:
    embedder = make(instruction="Find pets")
    await embedder.aembed_queries(["cats"], instruction="Find code")
    await embedder.aembed_queries(["cats"])
    await embedder.aembed_documents(["cats"])
    await embedder.aclose()
    assert server.texts() == ["Instruct: Find code\nQuery:cats", "Instruct: Find pets\nQuery:cats", "cats"]


@pytest.mark.parametrize("model", ["jinaai/jina-embeddings-v2-small-en", "text-embedding-3-small"])
def test_an_instruction_is_refused_where_the_model_takes_none(make: Make, model: str) -> None:
    with pytest.raises(InvalidInputError, match=r"`instruction` was given, but .* takes none"):
        make(model, instruction="Find pets")
    with pytest.raises(InvalidInputError, match=r"`instruction` was given, but .* takes none"):
        make(model).embed_queries(["cats"], instruction="Find pets")


@pytest.mark.parametrize("instruction", [5, ["Find pets"], b"Find pets"])
def test_an_instruction_that_is_no_string_is_refused(make: Make, instruction: Any) -> None:
    with pytest.raises(InvalidInputError, match="`instruction` is"):
        make(instruction=instruction)
    with pytest.raises(InvalidInputError, match="`instruction` is"):
        make().embed_queries(["cats"], instruction=instruction)


@pytest.mark.parametrize("dimensions", [32, 100, 256, 1024])
def test_dimensions_are_cut_and_renormalised_like_numpy_would(make: Make, dimensions: int) -> None:
    vectors = make(dimensions=dimensions).embed_documents(["a", "b"])
    front = np.stack([loopback.vector(text)[:dimensions] for text in "ab"]).astype(np.float64)
    np.testing.assert_allclose(vectors, front / np.linalg.norm(front, axis=1, keepdims=True), atol=1e-6)
    assert vectors.shape == (2, dimensions)


@pytest.mark.parametrize("dimensions", [0, 31, 1025, -1])
def test_dimensions_out_of_range_are_refused_with_the_range(make: Make, dimensions: int) -> None:
    with pytest.raises(InvalidInputError, match=f"`dimensions` is {dimensions}; for {QWEN3} .* between 32 and 1024"):
        make(dimensions=dimensions)


@pytest.mark.parametrize("dimensions", [64.0, "64", True])
def test_dimensions_that_are_no_whole_number_are_refused(make: Make, dimensions: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"`dimensions` is .* must be a whole number"):
        make(dimensions=dimensions)


def test_a_model_that_was_not_trained_to_be_cut_is_not_cut(make: Make) -> None:
    with pytest.raises(InvalidInputError, match=r"`dimensions` is 256; .* not trained to be cut"):
        make("jinaai/jina-embeddings-v2-base-en", dimensions=256)


def test_a_vector_with_nothing_left_after_the_cut_is_refused(server: loopback.Server, make: Make) -> None:
    row = [0.0] * 512 + [1.0] * 512
    server.reply(loopback.to_embeddings(lambda _: tiny.reply([{"index": 0, "embedding": row}])))
    with pytest.raises(ModelOutputError, match="first 64 values"):
        make(dimensions=64).embed_documents(["a"])


def test_dimensions_are_known_before_the_first_request(make: Make) -> None:
    assert make().dimensions == 1024
    assert make(dimensions=64).dimensions == 64


@pytest.mark.parametrize("settings", [{}, {"dimensions": 64}])
def test_no_texts_are_no_rows_and_no_request(server: loopback.Server, make: Make, settings: dict[str, int]) -> None:
    embedder = make(**settings)
    for vectors in (embedder.embed_documents([]), embedder.embed_queries([])):
        assert vectors.shape == (0, settings.get("dimensions", 1024))
        assert vectors.dtype == np.float32
    assert server.requests == []


async def test_no_texts_are_no_request_in_an_event_loop(server: loopback.Server, make: Make) -> None:
    assert (await make().aembed_documents([])).shape == (0, 1024)
    assert server.requests == []


def test_texts_may_come_from_any_iterable(make: Make) -> None:
    embedder = make()
    expected = embedder.embed_documents(["a", "b"])
    for texts in (("a", "b"), iter(["a", "b"]), {"a": 1, "b": 2}.keys(), np.array(["a", "b"])):
        np.testing.assert_array_equal(embedder.embed_documents(texts), expected)


def test_given_texts_are_not_changed(make: Make) -> None:
    texts = ["a", "b"]
    make().embed_queries(texts)
    assert texts == ["a", "b"]


@pytest.mark.parametrize("call", ["embed_queries", "embed_documents"])
def test_blank_texts_are_named_and_nothing_is_sent(server: loopback.Server, make: Make, call: str) -> None:
    with pytest.raises(
        InvalidInputError, match=r"`texts` holds blank text at positions 1, 3, 4. Nothing was sent"
    ) as caught:
        getattr(make(), call)(["a", "", "b", " \n\t", "\u3000", "c"])
    assert caught.value.positions == (1, 3, 4)
    assert caught.value.parameter == "texts"
    assert server.requests == []


async def test_blank_texts_are_named_in_an_event_loop(server: loopback.Server, make: Make) -> None:
    with pytest.raises(InvalidInputError, match="position 0"):
        await make().aembed_queries([" "])
    assert server.requests == []


def test_one_string_is_not_taken_for_a_list_of_letters(server: loopback.Server, make: Make) -> None:
    with pytest.raises(InvalidInputError, match="`texts` is one string; pass a list"):
        make().embed_documents("cats")
    assert server.requests == []


@pytest.mark.parametrize("texts", [None, 5, object()])
def test_what_is_no_list_is_refused(make: Make, texts: Any) -> None:
    with pytest.raises(InvalidInputError, match=f"`texts` is {type(texts).__name__}; pass a list"):
        make().embed_documents(texts)


@pytest.mark.parametrize("wrong", [None, 5, b"b", ["b"], float("nan")])
def test_what_is_no_string_is_named(server: loopback.Server, make: Make, wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match=f"found {type(wrong).__name__} at position 1") as caught:
        make().embed_documents(["a", wrong])
    assert caught.value.positions == (1,)
    assert server.requests == []


def test_text_that_no_encoding_can_carry_is_named(server: loopback.Server, make: Make) -> None:
    with pytest.raises(InvalidInputError, match="lone surrogates at position 1") as caught:
        make().embed_documents(["a", "caf\udce9"])
    assert caught.value.positions == (1,)
    assert server.requests == []


def test_an_unknown_model_warns_where_it_was_named(server: loopback.Server) -> None:
    with pytest.warns(UnknownModelWarning, match="`model` 'acme/embedder' has no profile") as caught:
        Embedder.served("acme/embedder", base_url=server.base_url)
    assert caught[0].filename == __file__


def test_an_unknown_model_gets_no_prompt(server: loopback.Server, make: Make) -> None:
    with pytest.warns(UnknownModelWarning):
        embedder = make("acme/embedder")
    embedder.embed_queries(["cats"])
    assert server.texts() == ["cats"]


def test_an_explicit_profile_silences_the_warning_and_gives_the_prompt(server: loopback.Server, make: Make) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embedder = make(
            "acme/embedder", profile=ModelProfile(name="acme", query_prefix="query: ", document_prefix="doc: ")
        )
    embedder.embed_queries(["cats"])
    embedder.embed_documents(["cats"])
    assert server.texts() == ["query: cats", "doc: cats"]


def test_a_reranker_is_refused_by_name(make: Make) -> None:
    with pytest.raises(WrongServerError, match=r"'Qwen/Qwen3-Reranker-0.6B' is a reranker; use Reranker"):
        make("Qwen/Qwen3-Reranker-0.6B")


@pytest.mark.parametrize("model", [None, 5, "", " "])
def test_a_model_that_is_no_name_is_refused(make: Make, model: Any) -> None:
    with pytest.raises(InvalidInputError, match="`model` is"):
        make(model)


def test_nothing_is_sent_before_the_first_use(server: loopback.Server, make: Make) -> None:
    make()
    assert (server.requests, server.connections) == ([], 0)


def fingerprint(model: str = QWEN3, **settings: Any) -> str:
    with Embedder.served(model, **{"base_url": NOWHERE, **settings}) as embedder:
        return embedder.fingerprint


@pytest.mark.parametrize(
    "other",
    [
        {"model": "Qwen/Qwen3-Embedding-4B"},
        {"dimensions": 256},
        {"instruction": "Find pets"},
        {"profile": ModelProfile(name=QWEN3, dimensions=1024, document_prefix="doc: ")},
    ],
)
def test_the_fingerprint_changes_with_what_shapes_the_vectors(other: dict[str, Any]) -> None:
    assert fingerprint(**other) != fingerprint()


@pytest.mark.parametrize(
    "other",
    [
        {"batch_size": 1},
        {"api_key": "sk-other"},
        {"base_url": "http://127.0.0.1:10/v1"},
        {"timeout": 1},
        {"max_retries": 0},
        {"max_concurrency": 1},
        {"long_text": "error"},
        {"encoding_format": "float"},
        {"default_headers": {"X-Tenant": "x"}},
        {"show_progress": True},
        {"dimensions": 1024},
        {"instruction": "Given a web search query, retrieve relevant passages that answer the query"},
    ],
)
def test_the_fingerprint_does_not_change_with_anything_else(other: dict[str, Any]) -> None:
    assert fingerprint(**other) == fingerprint()


def test_a_progress_bar_shows_on_request(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    make(show_progress=True, batch_size=4).embed_documents([f"text {position}" for position in range(10)])
    assert "10/10" in capsys.readouterr().err


def test_no_progress_bar_shows_by_default(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    make().embed_documents(["a"])
    assert capsys.readouterr().err == ""


def test_every_error_is_of_one_family_and_input_errors_are_value_errors(make: Make) -> None:
    with pytest.raises(QwenEmbedError):
        make().embed_documents([""])
    with pytest.raises(ValueError, match="blank"):
        make().embed_documents([""])


def test_the_representation_says_model_and_size_and_no_secret(make: Make) -> None:
    shown = repr(make(api_key="sk-very-secret", dimensions=64))
    assert shown == f"Embedder({QWEN3!r}, dimensions=64)"


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.deepcopy, copy.copy])
def test_an_embedder_cannot_be_copied_with_its_connections(make: Make, duplicate: Callable[[Embedder], Any]) -> None:
    with pytest.raises(TypeError, match="pickle what it was made from"):
        duplicate(make())


@pytest.mark.parametrize("role", ["documents", "Query", None])
def test_a_role_that_is_none_is_refused_rather_than_read_as_a_query(make: Make, role: Any) -> None:
    with pytest.raises(InvalidInputError, match="`role` is") as caught:
        make().embed_lists(["a"], role)
    assert caught.value.parameter == "role"


def test_another_embedder_with_other_options_shares_the_connection(server: loopback.Server, make: Make) -> None:
    embedder = make(max_concurrency=1)
    small = embedder.with_options(dimensions=64, instruction="Find pets")
    small.embed_queries(["cats"])
    assert embedder.embed_documents(["cats"]).shape == (1, 1024)
    assert small.embed_documents(["cats"]).shape == (1, 64)
    assert server.texts() == ["Instruct: Find pets\nQuery:cats", "cats", "cats"]
    assert server.connections == 1


def test_a_size_that_a_server_was_asked_for_is_not_changed_afterwards(make: Make) -> None:
    embedder = make("text-embedding-3-small", dimensions=256)
    assert embedder.with_options(dimensions=256).dimensions == 256
    with pytest.raises(InvalidInputError, match=r"`dimensions` is 512, but the server was asked for 256\."):
        embedder.with_options(dimensions=512)


def test_a_served_embedder_describes_itself_without_a_request_or_the_key(server: loopback.Server, make: Make) -> None:
    described = make(api_key="sk-very-secret", dimensions=64).describe()
    assert described["model"] == QWEN3
    assert described["dimensions"] == 64
    assert "sk-very-secret" not in str(described)
    assert server.requests == []
