from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import Document, MetadataMode

if TYPE_CHECKING:
    from collections.abc import Callable

    import loopback
    from qwen_embed_integrations.llama_index import LocalEmbedding, ServedEmbedding

    Served = Callable[..., ServedEmbedding]

DOCUMENTS = [Document(text=f"This is document number {number}.", metadata={"n": number}) for number in range(6)]


def pipeline(embedding: ServedEmbedding | LocalEmbedding, cached: IngestionPipeline | None = None) -> IngestionPipeline:
    made = IngestionPipeline(transformations=[SentenceSplitter(), embedding])
    if cached is not None:
        made.cache = cached.cache
    return made


def test_a_second_run_sends_nothing(served: Served, server: loopback.Server) -> None:
    first = pipeline(served())
    nodes = first.run(documents=DOCUMENTS)
    sent = len(server.texts())
    again = pipeline(served(api_key="sk-other", batch_size=2, embed_batch_size=3), first).run(documents=DOCUMENTS)
    assert len(server.texts()) == sent == len(DOCUMENTS)
    assert [node.embedding for node in again] == [node.embedding for node in nodes]


@pytest.mark.parametrize("change", [{"query_instruction": "Find"}, {"dimensions": 64}])
async def test_other_vectors_are_embedded_again(
    served: Served, server: loopback.Server, change: dict[str, object]
) -> None:
    first = pipeline(served())
    await first.arun(documents=DOCUMENTS)
    await pipeline(served(**change), first).arun(documents=DOCUMENTS)
    assert len(server.texts()) == 2 * len(DOCUMENTS)


@pytest.mark.filterwarnings("ignore:Specified num_workers exceed")  # on one core
def test_worker_processes_have_all_settings(served: Served, server: loopback.Server) -> None:
    embedding = served(dimensions=64, api_key="sk-for-workers")
    nodes = IngestionPipeline(transformations=[embedding]).run(documents=DOCUMENTS, num_workers=2)
    keys = {request.headers.get("Authorization", request.headers.get("authorization")) for request in server.posted()}
    assert keys == {"Bearer sk-for-workers"}
    texts = [node.get_content(MetadataMode.EMBED) for node in nodes]
    assert sorted(server.texts()) == sorted(texts)
    assert [node.embedding for node in nodes] == embedding.get_text_embedding_batch(texts)


@pytest.mark.timeout(300)  # two processes import torch
@pytest.mark.filterwarnings("ignore:Specified num_workers exceed")  # on one core
def test_worker_processes_load_a_local_model(local: LocalEmbedding) -> None:
    nodes = IngestionPipeline(transformations=[local]).run(documents=DOCUMENTS[:2], num_workers=2)
    texts = [node.get_content(MetadataMode.EMBED) for node in nodes]
    np.testing.assert_allclose([node.embedding for node in nodes], local.get_text_embedding_batch(texts), atol=1e-5)
