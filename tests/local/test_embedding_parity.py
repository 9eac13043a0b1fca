"""Vectors equal sentence-transformers' on the same files, in float32."""

from __future__ import annotations

import logging
import random
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import checkpoints
from qwen_embed_integrations import Embedder, ModelProfile, Reranker
from qwen_embed_integrations.errors import InvalidInputError, LongTextWarning

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

sentence_transformers = pytest.importorskip("sentence_transformers")

pytestmark = pytest.mark.filterwarnings("ignore::qwen_embed_integrations.errors.LongTextWarning")

SAME = 0.99999


def cosines(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    return (ours * theirs).sum(1) / np.linalg.norm(theirs, axis=1)


@pytest.fixture(params=["minilm", "tiny_qwen3", "tiny_bert"])
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def test_queries_and_documents_equal_sentence_transformers(folder: Path, texts: list[str]) -> None:
    theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    with Embedder.local(folder, dtype="float32", device="cpu") as ours:
        assert cosines(ours.embed_queries(texts), theirs.encode_query(texts)).min() >= SAME
        assert cosines(ours.embed_documents(texts), theirs.encode_document(texts)).min() >= SAME


def test_an_embedding_model_reranks_by_its_vectors(folder: Path, texts: list[str]) -> None:
    theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    wanted = cosines(theirs.encode_document(texts), theirs.encode_query(texts[:1])) / np.linalg.norm(
        theirs.encode_document(texts), axis=1
    )
    with Embedder.local(folder, dtype="float32", device="cpu") as ours:
        ranked = Reranker.over(ours).rerank(texts[0], texts)
    np.testing.assert_allclose([each.score for each in ranked], wanted[[each.index for each in ranked]], atol=1e-5)
    assert [each.score for each in ranked] == sorted((each.score for each in ranked), reverse=True)


def test_order_and_company_do_not_change_a_vector(folder: Path, texts: list[str]) -> None:
    shuffled = random.Random(1).sample(range(len(texts)), len(texts))
    with Embedder.local(folder, dtype="float32", device="cpu", token_budget=64) as few:
        alone = np.concatenate([few.embed_documents([text]) for text in texts])
        together = few.embed_documents([texts[at] for at in shuffled])
    with Embedder.local(folder, dtype="float32", device="cpu", token_budget=100_000) as many:
        in_one_pass = many.embed_documents(texts)
    assert cosines(together, alone[shuffled]).min() >= SAME
    assert cosines(in_one_pass, alone).min() >= SAME


def test_dimensions_are_cut_then_brought_to_length_one(folder: Path, texts: list[str]) -> None:
    with Embedder.local(folder, dtype="float32", device="cpu") as whole:
        full = whole.embed_documents(texts)
    with Embedder.local(folder, dtype="float32", device="cpu", dimensions=32) as cut:
        small = cut.embed_documents(texts)
    wanted = full[:, :32] / np.linalg.norm(full[:, :32], axis=1, keepdims=True)
    assert small.shape == (len(texts), 32)
    np.testing.assert_allclose(small, wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "how"),
    [
        (checkpoints.distilbert_embedding, "padded"),
        (checkpoints.roberta_embedding, "packed"),
        (partial(checkpoints.qwen3_embedding, is_causal=False), "packed"),
    ],
)
def test_other_architectures_equal_sentence_transformers(
    make: Callable[[Path], Path], how: str, tmp_path: Path, texts: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = make(tmp_path / "tiny")
    theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    with (
        caplog.at_level(logging.INFO, "qwen_embed_integrations.local"),
        Embedder.local(folder, dtype="float32", device="cpu") as ours,
    ):
        assert f"; {how}" in caplog.messages[-1]
        assert cosines(ours.embed_documents(texts), theirs.encode_document(texts)).min() >= SAME


@pytest.mark.parametrize("pooling", ["cls", "mean", "lasttoken"])
def test_every_pooling_equals_sentence_transformers(pooling: str, tmp_path: Path, texts: list[str]) -> None:
    folder = checkpoints.bert_embedding(tmp_path / "tiny", pooling=pooling)
    theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    with Embedder.local(folder, dtype="float32", device="cpu") as ours:
        assert cosines(ours.embed_documents(texts), theirs.encode_document(texts)).min() >= SAME


def test_a_folder_saved_by_todays_sentence_transformers_is_read(tiny_bert: Path, tmp_path: Path) -> None:
    theirs = sentence_transformers.SentenceTransformer(str(tiny_bert), device="cpu")
    dense = sentence_transformers.base.modules.Dense(48, 16, activation_function=torch.nn.Tanh())
    theirs.append(dense)
    theirs.save(str(tmp_path / "saved"))
    with Embedder.local(tmp_path / "saved", dtype="float32", device="cpu") as ours:
        assert ours.dimensions == 16
        assert cosines(ours.embed_queries(["a fox"]), theirs.encode_query(["a fox"])).min() >= SAME


def test_what_the_folders_files_say_is_followed(tmp_path: Path, texts: list[str]) -> None:
    prompts = {"query": "q: ", "document": "", "passage": "passage: "}
    folder = checkpoints.bert_embedding(tmp_path / "tiny", pooling="mean", prompts=prompts)
    checkpoints.write_json(folder / "sentence_roberta_config.json", {"max_seq_length": 8})
    checkpoints.edit_json(folder / "config_sentence_transformers.json", truncate_dim=16)
    checkpoints.edit_json(folder / "tokenizer_config.json", model_max_length=6)
    theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    with Embedder.local(folder, dtype="float32", device="cpu") as ours:
        assert ours.dimensions == theirs.encode_query(texts).shape[1] == 16
        assert cosines(ours.embed_queries(texts), theirs.encode_query(texts)).min() >= SAME
        assert cosines(ours.embed_documents(texts), theirs.encode_document(texts)).min() >= SAME


def test_a_profile_of_ones_own_keeps_the_folders_dense_layer(tiny_bert: Path, tmp_path: Path) -> None:
    theirs = sentence_transformers.SentenceTransformer(str(tiny_bert), device="cpu")
    theirs.append(sentence_transformers.base.modules.Dense(48, 24, activation_function=torch.nn.Identity()))
    theirs.save(str(tmp_path / "saved"))
    profile = ModelProfile(name="mine", query_prefix="Find: {instruction} ", default_instruction="all")
    with Embedder.local(tmp_path / "saved", dtype="float32", device="cpu", profile=profile) as ours:
        found = ours.embed_queries(["a fox"], instruction="some")
    assert found.shape == (1, 24)
    assert cosines(found, theirs.encode(["Find: some a fox"])).min() >= SAME


def test_an_instruct_prompt_takes_an_instruction_and_a_plain_one_does_not(tmp_path: Path) -> None:
    instruct = {"query": "Instruct: Find all\nQuery: "}
    with Embedder.local(checkpoints.bert_embedding(tmp_path / "a", prompts=instruct), device="cpu") as ours:
        assert ours.profile.prefix("query", "Find some") == "Instruct: Find some\nQuery: "
    with Embedder.local(checkpoints.bert_embedding(tmp_path / "b", prompts={"query": "query: "}), device="cpu") as ours:
        assert ours.profile.prefix("query") == "query: "
        with pytest.raises(InvalidInputError, match="takes none"):
            ours.embed_queries(["fox"], instruction="Find some")


def test_a_text_longer_than_the_model_is_cut_as_sentence_transformers_cuts_it(folder: Path) -> None:
    long = "quick brown fox " * 600
    theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    with (
        Embedder.local(folder, dtype="float32", device="cpu") as ours,
        pytest.warns(LongTextWarning, match="position 0"),
    ):
        assert cosines(ours.embed_documents([long]), theirs.encode_document([long])).min() >= SAME


def test_bfloat16_stays_close_to_float32(folder: Path, texts: list[str]) -> None:
    least = 0.9998 if folder.name == "model" else 0.995  # random weights amplify rounding, trained ones do not
    with Embedder.local(folder, dtype="float32", device="cpu") as exact:
        wanted = exact.embed_documents(texts)
    with Embedder.local(folder, dtype="bfloat16", device="cpu") as fast:
        assert cosines(fast.embed_documents(texts), wanted).min() >= least
