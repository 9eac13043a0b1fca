from __future__ import annotations

import uuid
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, aindex, index
from langchain_core.vectorstores import InMemoryVectorStore

from qwen_embed_integrations.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_embed_integrations.langchain import ServedEmbeddings

    Served = Callable[..., ServedEmbeddings]

DOCUMENTS = [Document(f"text {number}", metadata={"number": number}) for number in range(4)]


class Library:
    """One record manager and one store, indexed with different embeddings over time."""

    def __init__(self) -> None:
        self.records = InMemoryRecordManager("library")
        self.records.create_schema()

    def index(self, embeddings: ServedEmbeddings, store: InMemoryVectorStore) -> dict[str, Any]:
        return dict(index(DOCUMENTS, self.records, store, cleanup="full", key_encoder=embeddings.key_encoder))


def test_documents_already_indexed_are_skipped(served: Served) -> None:
    library, store = Library(), InMemoryVectorStore(served())
    assert library.index(served(), store)["num_added"] == 4
    assert library.index(served(), store)["num_skipped"] == 4


@pytest.mark.parametrize(
    "change",
    [{"model": "Qwen/Qwen3-Embedding-4B"}, {"dimensions": 256}, {"query_instruction": "Find code"}],
    ids=["model", "dimensions", "instruction"],
)
def test_a_change_of_settings_indexes_everything_again(served: Served, change: dict[str, Any]) -> None:
    library, store = Library(), InMemoryVectorStore(served())
    library.index(served(), store)
    # The server gives 1024 dimensions whatever the model, so only the key is asked of the changed object.
    result = library.index(served(**change), store)
    assert (result["num_added"], result["num_deleted"], result["num_skipped"]) == (4, 4, 0)


def test_a_change_of_settings_that_do_not_shape_vectors_indexes_nothing_again(served: Served) -> None:
    library, store = Library(), InMemoryVectorStore(served())
    library.index(served(), store)
    changed = served(api_key="other", batch_size=2, max_concurrency=1, encoding_format="float", timeout=5)
    assert library.index(changed, store)["num_skipped"] == 4


async def test_aindex_takes_the_key_encoder_too(served: Served) -> None:
    records, embeddings = InMemoryRecordManager("library"), served()
    await records.acreate_schema()
    store = InMemoryVectorStore(embeddings)
    result = await aindex(DOCUMENTS, records, store, cleanup="full", key_encoder=embeddings.key_encoder)
    assert result["num_added"] == 4


def test_the_key_changes_with_the_text_and_with_the_metadata(served: Served) -> None:
    key = served().key_encoder
    same = [key(Document("a", metadata={"x": 1, "y": 2})), key(Document("a", metadata={"y": 2, "x": 1}))]
    assert same[0] == same[1]
    assert len({same[0], key(Document("b", metadata={"x": 1, "y": 2})), key(Document("a", metadata={"x": 1}))}) == 3


def test_the_key_is_a_uuid(served: Served) -> None:
    key = served().key_encoder(Document("a"))
    assert str(uuid.UUID(key)) == key


def test_metadata_that_is_no_json_is_refused(served: Served) -> None:
    with pytest.raises(InvalidInputError, match="`document` has metadata"):
        served().key_encoder(Document("a", metadata={"day": date(2026, 11, 1)}))
