from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest
from langchain_core.documents import Document

import checkpoints
from qwen_embed_integrations import Reranker
from qwen_embed_integrations.errors import ModelLoadError
from qwen_embed_integrations.langchain import LocalRerank

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUERY = "quick fox"
TEXTS = ["the lazy dog", "the quick brown fox", "hello world", "search engine"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.qwen3(tmp_path_factory.mktemp("reranker") / "Qwen3-Reranker-0.6B", append_eos=False)


@pytest.fixture(scope="module")
def rerank(folder: Path) -> Iterator[LocalRerank]:
    made = LocalRerank(model=folder, device="cpu", dtype="float32")
    yield made
    made.close()


@pytest.fixture
def pages() -> list[Document]:
    return [Document(text, metadata={"at": position}, id=f"id-{position}") for position, text in enumerate(TEXTS)]


def test_a_qwen3_reranker_scores_as_the_core_does(folder: Path, rerank: LocalRerank, pages: list[Document]) -> None:
    with Reranker.local(folder, device="cpu", dtype="float32") as core:
        ranked = core.rerank(QUERY, TEXTS)
    results = rerank.compress_documents(pages, QUERY)
    assert [document.metadata["at"] for document in results] == [ranked_document.index for ranked_document in ranked]
    scores = [document.metadata["relevance_score"] for document in results]
    assert scores == pytest.approx([ranked_document.score for ranked_document in ranked], abs=1e-6)
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 4


def test_ids_and_metadata_are_kept_and_the_input_is_left_alone(rerank: LocalRerank, pages: list[Document]) -> None:
    results = rerank.compress_documents(pages, QUERY)
    assert {document.id: document.metadata["at"] for document in results} == {
        f"id-{position}": position for position in range(4)
    }
    assert all(page.metadata == {"at": position} for position, page in enumerate(pages))


async def test_sync_and_async_give_the_same_documents(rerank: LocalRerank, pages: list[Document]) -> None:
    results = rerank.compress_documents(pages, QUERY)
    afound = await rerank.acompress_documents(pages, QUERY)
    assert [document.id for document in afound] == [document.id for document in results]


def test_another_instruction_gives_other_scores(rerank: LocalRerank) -> None:
    usual, special = rerank.rerank(TEXTS, QUERY), rerank.rerank(TEXTS, QUERY, instruction="lazy dog jumps")
    assert {ranked_document.score for ranked_document in usual}.isdisjoint(
        ranked_document.score for ranked_document in special
    )


def test_a_cross_encoder_reranks_too(tmp_path: Path, pages: list[Document]) -> None:
    model = checkpoints.bert(tmp_path / "cross", "BertForSequenceClassification", num_labels=1)
    rerank = LocalRerank(model=model, device="cpu", dtype="float32", top_n=2)
    results = rerank.compress_documents(pages, QUERY)
    rerank.close()
    assert len(results) == 2
    assert 0 < results[1].metadata["relevance_score"] <= results[0].metadata["relevance_score"] < 1


def test_a_pickle_scores_the_same(rerank: LocalRerank) -> None:
    other = pickle.loads(pickle.dumps(rerank))  # noqa: S301 its own pickle
    assert other.rerank(TEXTS, QUERY) == rerank.rerank(TEXTS, QUERY)
    other.close()


def test_an_embedding_folder_is_refused_at_construction(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="is an embedding model"):
        LocalRerank(model=checkpoints.bert_embedding(tmp_path / "bert"))
