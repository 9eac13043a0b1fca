from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest

import checkpoints
from qwen_embed_integrations.errors import InvalidInputError, ModelLoadError
from qwen_embed_integrations.langchain import LocalEmbeddings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROMPT = checkpoints.QWEN3_PROMPTS["query"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.qwen3_embedding(tmp_path_factory.mktemp("qwen3") / "tiny")


@pytest.fixture(scope="module")
def embeddings(folder: Path) -> Iterator[LocalEmbeddings]:
    made = LocalEmbeddings(model=folder, device="cpu", dtype="float32")
    yield made
    made.close()


def test_a_query_gets_the_models_prompt(embeddings: LocalEmbeddings) -> None:
    by_hand = embeddings.embed_documents([f"{PROMPT}quick fox"])[0]
    np.testing.assert_allclose(embeddings.embed_query("quick fox"), by_hand, atol=1e-6)


def test_a_query_and_a_document_of_the_same_text_get_different_vectors(embeddings: LocalEmbeddings) -> None:
    assert np.dot(embeddings.embed_query("quick fox"), embeddings.embed_documents(["quick fox"])[0]) < 0.999


def test_an_instruction_of_the_call_replaces_the_default(embeddings: LocalEmbeddings) -> None:
    by_hand = embeddings.embed_documents(["Instruct: Find code\nQuery:quick fox"])[0]
    np.testing.assert_allclose(embeddings.embed_query("quick fox", instruction="Find code"), by_hand, atol=1e-6)


def test_a_newline_is_not_a_space(embeddings: LocalEmbeddings) -> None:
    newline, space = embeddings.embed_documents(["def f():\n return", "def f():  return"])
    assert np.dot(newline, space) < 0.999


def test_vectors_are_cut_to_the_dimensions_and_are_of_length_one(folder: Path, embeddings: LocalEmbeddings) -> None:
    full = np.array(embeddings.embed_query("quick fox"))[:32]
    cut = LocalEmbeddings(model=folder, device="cpu", dtype="float32", dimensions=32)
    np.testing.assert_allclose(cut.embed_query("quick fox"), full / np.linalg.norm(full), atol=1e-6)
    cut.close()


async def test_sync_and_async_give_the_same_vectors(embeddings: LocalEmbeddings) -> None:
    texts = ["quick fox", "lazy dog jumps"]
    np.testing.assert_allclose(await embeddings.aembed_documents(texts), embeddings.embed_documents(texts), atol=1e-6)
    np.testing.assert_allclose(await embeddings.aembed_query("fox"), embeddings.embed_query("fox"), atol=1e-6)


@pytest.mark.parametrize(
    "copied",
    [lambda made: pickle.loads(pickle.dumps(made)), copy.deepcopy],  # noqa: S301 its own pickle
    ids=["pickle", "deepcopy"],
)
def test_a_copy_gives_the_same_vectors(embeddings: LocalEmbeddings, copied: object) -> None:
    other = copied(embeddings)
    assert other.embedder is not embeddings.embedder
    np.testing.assert_allclose(other.embed_query("fox"), embeddings.embed_query("fox"), atol=1e-6)
    other.close()


def test_a_pickle_holds_no_weights(embeddings: LocalEmbeddings) -> None:
    assert len(pickle.dumps(embeddings)) < 2000


def test_a_folder_without_weights_is_refused_at_construction(tmp_path: Path) -> None:
    checkpoints.qwen3_embedding(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelLoadError):
        LocalEmbeddings(model=tmp_path)


def test_blank_texts_are_refused_by_position(embeddings: LocalEmbeddings) -> None:
    with pytest.raises(InvalidInputError) as caught:
        embeddings.embed_documents(["a", "\n"])
    assert caught.value.positions == (1,)


def test_a_real_model_finds_the_answer(minilm: Path) -> None:
    embeddings = LocalEmbeddings(model=minilm)
    documents = ["The Eiffel Tower is in Paris.", "Bread is baked from flour.", "Python is a programming language."]
    scores = np.array(embeddings.embed_documents(documents)) @ embeddings.embed_query("How do I make a loaf?")
    assert scores.argmax() == 1
    embeddings.close()
