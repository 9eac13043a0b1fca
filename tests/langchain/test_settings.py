from __future__ import annotations

import copy
import inspect
import json
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.documents import Document
from langchain_core.load import dumpd, dumps, load
from langchain_core.retrievers import BaseRetriever
from pydantic import ValidationError

from qwen_embed_integrations import ModelProfile, RerankProfile, ServerInfo
from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.langchain import (
    EmbeddingRerank,
    LocalEmbeddings,
    RerankRetriever,
    ServedEmbeddings,
    ServedRerank,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loopback import Server

URL = "http://127.0.0.1:9/v1"
SECRETS = {"api_key": "sk-secret", "default_headers": {"Authorization": "hush-hush"}}

pytestmark = pytest.mark.filterwarnings("ignore:The function `load` is in beta")


def _make(kind: type[ServedEmbeddings | ServedRerank], **settings: Any) -> ServedEmbeddings | ServedRerank:
    model = "Qwen/Qwen3-Embedding-0.6B" if kind is ServedEmbeddings else "Qwen/Qwen3-Reranker-0.6B"
    return kind(model=model, base_url=URL, **{**SECRETS, **settings})


both = pytest.mark.parametrize("kind", [ServedEmbeddings, ServedRerank])


def _load(dumped: Any, *kinds: type, **options: Any) -> Any:
    if "allowed_objects" in inspect.signature(load).parameters:  # langchain-core 1.0 has none
        options["allowed_objects"] = list(kinds)
    return load(
        dumped,
        valid_namespaces=["qwen_embed_integrations", *(kind.__module__.partition(".")[0] for kind in kinds)],
        **options,
    )


@both
@pytest.mark.parametrize(
    "show",
    [repr, str, lambda made: str(made.model_dump()), lambda made: made.model_dump_json(), dumps],
    ids=["repr", "str", "model_dump", "model_dump_json", "dumps"],
)
def test_neither_key_nor_headers_are_shown(kind: type, show: Callable[[Any], str]) -> None:
    shown = show(_make(kind))
    assert "sk-secret" not in shown
    assert "hush-hush" not in shown


@both
def test_a_wrong_setting_is_refused_without_quoting_the_secrets(kind: type) -> None:
    with pytest.raises(ValidationError) as caught:
        _make(kind, default_headers={"Authorization": ["hush-hush"]}, basurl="x")
    assert "basurl" in str(caught.value)
    assert "hush-hush" not in str(caught.value)
    assert "sk-secret" not in str(caught.value)


@both
def test_a_setting_cannot_be_changed_in_place(kind: type) -> None:
    made = _make(kind)
    with pytest.raises(InvalidInputError, match=r"`api_key` cannot be changed.*model_copy") as caught:
        made.api_key = "sk-secret"
    assert "sk-secret" not in str(caught.value)


@both
def test_a_dump_loads_back_with_its_secret(kind: type) -> None:
    made = _make(kind, default_headers=None, max_retries=0)
    dumped = json.loads(json.dumps(dumpd(made)))
    assert dumped["kwargs"]["api_key"] == {"lc": 1, "type": "secret", "id": ["QWEN_EMBED_API_KEY"]}
    assert _load(dumped, kind, secrets_map={"QWEN_EMBED_API_KEY": "sk-secret"}) == made


@both
@pytest.mark.parametrize("dialect", ["sglang_router", ServerInfo(kind="tei", max_batch=32)])
def test_what_was_said_of_the_server_survives_a_dump_and_a_copy(kind: type, dialect: str | ServerInfo) -> None:
    made = _make(kind, dialect=dialect)
    assert _load(json.loads(json.dumps(dumpd(made))), kind).dialect == dialect
    assert made.model_copy(update={"max_retries": 0}).dialect == dialect


@both
def test_a_dump_loads_back_without_its_secret(kind: type) -> None:
    assert _load(dumpd(_make(kind)), kind).api_key is None


class Fixed(BaseRetriever):
    """A retriever that serialises, as those of vector stores in memory do not."""

    texts: list[str]

    @classmethod
    def is_lc_serializable(cls) -> bool:
        return True

    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:  # noqa: ARG002 the framework's signature
        return [Document(text) for text in self.texts]


def test_a_rerank_retriever_loads_back_with_its_secret() -> None:
    made = RerankRetriever(retriever=Fixed(texts=["a"]), reranker=_make(ServedRerank, default_headers=None), k=1)
    dumped = json.loads(json.dumps(dumpd(made)))
    assert "sk-secret" not in json.dumps(dumped)
    loaded = _load(dumped, RerankRetriever, ServedRerank, Fixed, secrets_map={"QWEN_EMBED_API_KEY": "sk-secret"})
    assert loaded.k == 1
    assert loaded.retriever == made.retriever
    assert loaded.reranker == made.reranker


def test_a_profile_survives_a_dump() -> None:
    profile = ModelProfile(name="mine", dimensions=64, query_prefix="query: ", listed_dimensions=(32, 64))
    made = ServedEmbeddings(model="mine", base_url=URL, profile=profile)
    assert _load(json.loads(dumps(made)), ServedEmbeddings).profile == profile


def test_a_rerank_profile_survives_a_dump() -> None:
    profile = RerankProfile(name="mine", max_tokens=512)
    made = ServedRerank(model="mine", base_url=URL, profile=profile)
    assert _load(json.loads(dumps(made)), ServedRerank).profile == profile


@both
@pytest.mark.parametrize(
    "copied",
    [lambda made: pickle.loads(pickle.dumps(made)), copy.copy, copy.deepcopy],  # noqa: S301 its own pickle
    ids=["pickle", "copy", "deepcopy"],
)
def test_a_copy_has_the_same_settings_and_a_core_object_of_its_own(kind: type, copied: Callable[[Any], Any]) -> None:
    made = _make(kind)
    other = copied(made)
    assert other == made
    assert other.api_key.get_secret_value() == "sk-secret"
    assert other.default_headers == {"Authorization": "hush-hush"}
    assert _core(other) is not _core(made)


def _core(made: Any) -> Any:
    return made.embedder if isinstance(made, ServedEmbeddings) else made.reranker


def test_a_copy_with_other_dimensions_gives_vectors_of_those_dimensions(
    served: Callable[..., ServedEmbeddings],
) -> None:
    embeddings = served(dimensions=512)
    assert len(embeddings.model_copy(update={"dimensions": 64}).embed_query("a")) == 64
    assert len(embeddings.embed_query("a")) == 512


def test_a_copy_with_a_wrong_setting_is_refused(served: Callable[..., ServedEmbeddings]) -> None:
    with pytest.raises(InvalidInputError, match="`dimensions` is 5000"):
        served().model_copy(update={"dimensions": 5000})


def test_a_pickle_works_in_a_new_process(served: Callable[..., ServedEmbeddings], server: Server) -> None:
    embeddings = served()
    script = "import pickle, sys; print(len(pickle.load(sys.stdin.buffer).embed_query('a')))"
    done = subprocess.run(  # noqa: S603 its own script
        [sys.executable, "-c", script], input=pickle.dumps(embeddings), capture_output=True, check=True, timeout=60
    )
    assert done.stdout.split() == [b"1024"]
    assert len(server.posted("/embeddings")) == 1


def test_an_object_works_again_after_it_was_closed(served: Callable[..., ServedEmbeddings]) -> None:
    embeddings = served()
    before = embeddings.embed_query("a")
    embeddings.close()
    assert embeddings.embed_query("a") == before


async def test_an_object_works_again_after_it_was_closed_asynchronously(
    served: Callable[..., ServedEmbeddings],
) -> None:
    embeddings = served()
    before = await embeddings.aembed_query("a")
    await embeddings.aclose()
    assert await embeddings.aembed_query("a") == before


def test_closing_a_copy_leaves_the_original_open(served: Callable[..., ServedEmbeddings]) -> None:
    embeddings = served()
    core = embeddings.embedder
    copy.copy(embeddings).close()
    assert embeddings.embedder is core


def test_local_settings_take_a_path_and_dump_it_as_text(minilm: Path) -> None:
    made = LocalEmbeddings(model=minilm, dtype="float32")
    assert made.model == str(minilm)
    assert dumpd(made)["kwargs"]["model"] == str(minilm)
    made.close()


def test_a_second_stage_comes_back_with_its_embeddings_and_without_their_key() -> None:
    embeddings = ServedEmbeddings(model="Qwen/Qwen3-Embedding-0.6B", base_url=URL, dimensions=64, **SECRETS)
    rerank = EmbeddingRerank(embeddings=embeddings, top_n=2, instruction="Find pets")
    dumped = dumps(rerank)
    assert "sk-secret" not in dumped + repr(rerank)
    again = _load(json.loads(dumped), EmbeddingRerank, ServedEmbeddings, secrets_map={"QWEN_EMBED_API_KEY": "sk-new"})
    assert (again.top_n, again.instruction, again.embeddings.dimensions) == (2, "Find pets", 64)
    assert again.embeddings.api_key.get_secret_value() == "sk-new"
