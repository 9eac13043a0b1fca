from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.schema import TextNode

from qwen_embed_integrations import errors
from qwen_embed_integrations.llama_index import LocalEmbedding

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ["The cat sat on the mat.", "Interest rates rose again.", "A kitten is asleep on the rug."]


@pytest.fixture(scope="session")
def prompted(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder whose files ask for a prompt before a query."""
    folder = tmp_path_factory.mktemp("prompted")
    for entry in minilm.iterdir():
        (folder / entry.name).symlink_to(entry)
    settings = folder / "config_sentence_transformers.json"
    given = json.loads(settings.read_text())
    settings.unlink()
    settings.write_text(json.dumps(given | {"prompts": {"query": "search: ", "document": ""}}))
    return folder


def test_similar_texts_have_similar_vectors(local: LocalEmbedding) -> None:
    cat, rates, kitten = np.array(local.get_text_embedding_batch(TEXTS))
    assert cat @ kitten > 0.4
    assert cat @ rates < 0.2


async def test_async_gives_what_sync_gives(local: LocalEmbedding) -> None:
    vectors = await local.aget_text_embedding_batch(TEXTS)
    np.testing.assert_allclose(vectors, local.get_text_embedding_batch(TEXTS), atol=1e-5)
    np.testing.assert_allclose(await local.aget_text_embedding(TEXTS[0]), vectors[0], atol=1e-5)
    np.testing.assert_allclose(
        await local.aget_query_embedding(TEXTS[0]), local.get_query_embedding(TEXTS[0]), atol=1e-5
    )


async def test_callers_at_once_get_their_own_vectors(local: LocalEmbedding) -> None:
    rows = await asyncio.gather(*(local.aget_text_embedding(TEXTS[position % 3]) for position in range(24)))
    expected = local.get_text_embedding_batch(TEXTS)
    np.testing.assert_allclose(rows, [expected[position % 3] for position in range(24)], atol=1e-5)


def test_every_event_loop_can_use_the_same_object(local: LocalEmbedding) -> None:
    vectors = [asyncio.run(local.aget_text_embedding(TEXTS[0])) for _ in range(2)]
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


def test_the_models_own_query_prompt_is_kept(local: LocalEmbedding, prompted: Path) -> None:
    embedding = LocalEmbedding(prompted, device="cpu", dtype="float32")
    np.testing.assert_allclose(embedding.get_query_embedding("one"), local.get_text_embedding("search: one"), atol=1e-5)
    np.testing.assert_allclose(embedding.get_text_embedding("one"), local.get_text_embedding("one"), atol=1e-5)


def test_dimensions_outside_the_models_are_refused_on_construction(minilm: Path) -> None:
    with pytest.raises(errors.InvalidInputError, match="`dimensions`"):
        LocalEmbedding(minilm, device="cpu", dtype="float32", dimensions=512)


async def test_an_error_that_stays_is_raised_at_once(local: LocalEmbedding) -> None:
    started = time.perf_counter()
    with pytest.raises(errors.InvalidInputError):
        await local.aget_text_embedding(" ")
    assert time.perf_counter() - started < 1


def test_a_folder_without_a_model_is_refused_on_construction(tmp_path: Path) -> None:
    with pytest.raises(errors.ModelLoadError):
        LocalEmbedding(tmp_path)


def test_an_embedding_comes_back_from_its_dict(local: LocalEmbedding) -> None:
    again = LocalEmbedding.from_dict(local.to_dict(), device="cpu", dtype="float32")
    assert again.get_text_embedding("one") == local.get_text_embedding("one")


def test_the_ingestion_cache_key_knows_the_weights_and_not_the_tuning(
    local: LocalEmbedding, minilm: Path, prompted: Path
) -> None:
    nodes = [TextNode(text="one")]
    tuned = LocalEmbedding(
        minilm, device="cpu", dtype="float32", token_budget=512, embed_batch_size=16, num_workers=2, long_text="error"
    )
    assert get_transformation_hash(nodes, tuned) == get_transformation_hash(nodes, local)
    other = LocalEmbedding(prompted, device="cpu", dtype="float32")
    assert get_transformation_hash(nodes, other) != get_transformation_hash(nodes, local)
