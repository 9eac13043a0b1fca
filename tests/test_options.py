"""Options are listed in `options.py` alone: everything that offers one is compared with it."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict, get_type_hints

import pytest

from qwen_embed_integrations import Embedder, Reranker, langchain, llama_index
from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.options import (
    LocalKeywords,
    LocalOptions,
    ServedEmbeddingKeywords,
    ServedKeywords,
    ServedOptions,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel

URL = "http://127.0.0.1:9/v1"
# What a method or class names in its signature, since it cannot be done without or is no matter of tuning.
ADDRESS = {"base_url", "api_key"}
EMBEDDINGS_ONLY = {"encoding_format"}

KEYWORDS: list[tuple[type, type, set[str]]] = [
    (ServedEmbeddingKeywords, ServedOptions, ADDRESS),
    (ServedKeywords, ServedOptions, ADDRESS | EMBEDDINGS_ONLY),
    (LocalKeywords, LocalOptions, set()),
]
METHODS: list[tuple[Callable[..., Any], type]] = [
    (Embedder.served, ServedEmbeddingKeywords),
    (Embedder.local, LocalKeywords),
    (Reranker.served, ServedKeywords),
    (Reranker.local, LocalKeywords),
    (llama_index.ServedEmbedding.__init__, ServedEmbeddingKeywords),
    (llama_index.LocalEmbedding.__init__, LocalKeywords),
    (llama_index.ServedRerank.__init__, ServedKeywords),
    (llama_index.LocalRerank.__init__, LocalKeywords),
]
CLASSES: list[tuple[type[BaseModel], type, set[str]]] = [
    (langchain.ServedEmbeddings, ServedOptions, set()),
    (langchain.LocalEmbeddings, LocalOptions, set()),
    (langchain.ServedRerank, ServedOptions, EMBEDDINGS_ONLY),
    (langchain.LocalRerank, LocalOptions, set()),
    (llama_index.ServedEmbedding, ServedOptions, set()),
    (llama_index.LocalEmbedding, LocalOptions, set()),
    (llama_index.ServedRerank, ServedOptions, EMBEDDINGS_ONLY),
    (llama_index.LocalRerank, LocalOptions, set()),
]
# What options.py imports for type checkers alone.
NAMES = {"Mapping": Mapping}
LANGCHAINS_NAME = {"show_progress": "show_progress_bar"}


def name_of(kind: type) -> str:
    return f"{kind.__module__.split('.')[1]}.{kind.__name__}"


def field_of(kind: type[BaseModel], option: str) -> str:
    return LANGCHAINS_NAME.get(option, option) if ".langchain." in kind.__module__ else option


@pytest.mark.parametrize(("keywords", "kind", "left_out"), KEYWORDS, ids=lambda value: getattr(value, "__name__", ""))
def test_the_keywords_are_the_options_with_their_types(keywords: type, kind: type, left_out: set[str]) -> None:
    wanted = get_type_hints(kind, localns=NAMES)
    given = get_type_hints(keywords, localns=NAMES)
    assert given == {name: annotation for name, annotation in wanted.items() if name not in left_out}


@pytest.mark.parametrize(("method", "keywords"), METHODS, ids=lambda value: getattr(value, "__qualname__", ""))
def test_a_method_takes_its_options_as_these_keywords_and_lists_none(
    method: Callable[..., Any], keywords: type[TypedDict]
) -> None:
    parameters = inspect.signature(method).parameters
    assert parameters["options"].kind is inspect.Parameter.VAR_KEYWORD
    assert parameters["options"].annotation == f"Unpack[{keywords.__name__}]"
    assert keywords.__annotations__.keys().isdisjoint(parameters)


@pytest.mark.parametrize(
    ("kind", "dataclass", "left_out"), CLASSES, ids=lambda value: name_of(value) if isinstance(value, type) else ""
)
def test_a_class_has_every_option_with_its_default(kind: type[BaseModel], dataclass: type, left_out: set[str]) -> None:
    wanted = {option.name: option.default for option in dataclasses.fields(dataclass) if option.name not in left_out}
    defaults = {option: kind.model_fields[field_of(kind, option)].default for option in wanted.keys() - ADDRESS}
    assert defaults == {option: default for option, default in wanted.items() if option not in ADDRESS}
    assert ADDRESS & wanted.keys() <= kind.model_fields.keys()
    assert left_out.isdisjoint(kind.model_fields)


@pytest.mark.parametrize("kind", [kind for kind, dataclass, _ in CLASSES if dataclass is ServedOptions], ids=name_of)
def test_every_option_that_is_given_to_a_class_arrives(kind: type[BaseModel]) -> None:
    given = {
        "base_url": URL,
        "api_key": "sk-key",
        "dialect": "vllm",
        "batch_size": 2,
        "max_concurrency": 3,
        "timeout": 4.5,
        "max_retries": 5,
        "long_text": "error",
        "encoding_format": "float",
        "default_headers": {"x-a": "b"},
        "show_progress": True,
    }
    assert given.keys() == {option.name for option in dataclasses.fields(ServedOptions)}
    given = {name: value for name, value in given.items() if field_of(kind, name) in kind.model_fields}
    assert all(value != getattr(ServedOptions, name, None) for name, value in given.items())
    model = "Qwen/Qwen3-Reranker-0.6B" if "Rerank" in kind.__name__ else "Qwen/Qwen3-Embedding-0.6B"
    made: Any = kind(model=model, **{field_of(kind, name): value for name, value in given.items()})
    assert made._options() == given
    made.close()


@pytest.mark.parametrize("kind", [ServedOptions, LocalOptions])
def test_every_option_has_a_meaning(kind: type) -> None:
    body = ast.parse(inspect.getsource(kind)).body[0].body  # type: ignore[attr-defined]
    described = {
        field.target.id
        for field, after in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
        and str(after.value.value).strip()
    }
    assert described == {option.name for option in dataclasses.fields(kind)}


@pytest.mark.parametrize("kind", [ServedOptions, LocalOptions])
def test_options_cannot_be_changed(kind: type) -> None:
    made = kind(base_url=URL) if kind is ServedOptions else kind()
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.show_progress = True


def test_neither_key_nor_headers_are_shown() -> None:
    shown = repr(ServedOptions(base_url=URL, api_key="sk-secret", default_headers={"x": "hush-hush"}))
    assert "sk-secret" not in shown
    assert "hush-hush" not in shown


@pytest.mark.parametrize(
    ("call", "wrong", "similar"),
    [
        (lambda **given: Embedder.served("tiny", base_url=URL, **given), "dimension", "`dimensions`"),
        (lambda **given: Embedder.served("tiny", base_url=URL, **given), "retries", "`max_retries`"),
        (lambda **given: Embedder.local("tiny", **given), "devices", "`device`"),
        (lambda **given: Reranker.served("tiny", base_url=URL, **given), "instructions", "`instruction`"),
        (lambda **given: Reranker.local("tiny", **given), "token_budgets", "`token_budget`"),
    ],
)
def test_an_unknown_option_is_refused_with_a_similar_name(call: Callable[..., Any], wrong: str, similar: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"`{wrong}` is no option of .*\. Did you mean {similar}") as caught:
        call(**{wrong: 1})
    assert caught.value.parameter == wrong


def test_where_no_name_is_similar_all_are_named() -> None:
    with pytest.raises(InvalidInputError) as caught:
        Reranker.local("tiny", quantization="int8")  # type: ignore[call-arg]
    for name in ("profile", "instruction", *LocalKeywords.__annotations__):
        assert f"`{name}`" in str(caught.value)


def test_a_reranker_takes_no_encoding_format() -> None:
    with pytest.raises(InvalidInputError, match=r"`encoding_format` is no option of Reranker\.served"):
        Reranker.served("tiny", base_url=URL, encoding_format="float")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (ServedOptions, {"batch_size": 0}),
        (ServedOptions, {"max_concurrency": True}),
        (ServedOptions, {"max_retries": -1}),
        (ServedOptions, {"timeout": float("inf")}),
        (ServedOptions, {"timeout": "soon"}),
        (ServedOptions, {"long_text": "cut"}),
        (ServedOptions, {"encoding_format": "hex"}),
        (LocalOptions, {"long_text": "cut"}),
        (LocalOptions, {"token_budget": 0}),
    ],
    ids=str,
)
def test_a_value_that_cannot_be_is_refused_by_its_name(kind: type, wrong: dict[str, Any]) -> None:
    address = {"base_url": URL} if kind is ServedOptions else {}
    with pytest.raises(InvalidInputError) as caught:
        kind(**address, **wrong)
    assert caught.value.parameter == next(iter(wrong))
