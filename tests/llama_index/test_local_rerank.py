from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING

import pytest
from llama_index.core.schema import NodeWithScore, TextNode

from qwen_embed_integrations import Reranker, errors
from qwen_embed_integrations.llama_index import LocalRerank

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ["the sea is blue", "grass is green", "a whale in the sea", "nothing here at all"]


@pytest.fixture(scope="session")
def cross_encoder(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a small cross-encoder with weights of no meaning."""
    import torch  # noqa: PLC0415 slow to load
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("cross-encoder")
    tokenizer = AutoTokenizer.from_pretrained(minilm)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        num_labels=1,
        initializer_range=0.5,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def rerank(cross_encoder: Path) -> LocalRerank:
    return LocalRerank(cross_encoder, device="cpu", dtype="float32")


def nodes() -> list[NodeWithScore]:
    return [
        NodeWithScore(node=TextNode(text=text, id_=str(position)), score=0.5) for position, text in enumerate(TEXTS)
    ]


async def test_scores_and_order_are_the_rerankers(rerank: LocalRerank, cross_encoder: Path) -> None:
    core = Reranker.local(cross_encoder, device="cpu", dtype="float32")
    expected = core.rerank("blue whale", TEXTS)
    for results in (
        rerank.postprocess_nodes(nodes(), query_str="blue whale"),
        await rerank.apostprocess_nodes(nodes(), query_str="blue whale"),
    ):
        assert [int(node.node_id) for node in results] == [document.index for document in expected]
        assert [node.score for node in results] == pytest.approx([document.score for document in expected], abs=1e-5)
    assert len({round(document.score, 4) for document in expected}) == len(TEXTS)


def test_what_was_given_is_not_changed(rerank: LocalRerank) -> None:
    given = nodes()
    before = copy.deepcopy(given)
    rerank.postprocess_nodes(given, query_str="blue whale")
    assert given == before


def test_it_comes_back_from_its_dict_and_its_pickle(rerank: LocalRerank) -> None:
    expected = rerank.postprocess_nodes(nodes(), query_str="blue whale")
    unpickled = pickle.loads(pickle.dumps(rerank))  # noqa: S301 its own
    rebuilt = LocalRerank.from_dict(rerank.to_dict(), device="cpu", dtype="float32")
    for again in (unpickled, rebuilt):
        results = again.postprocess_nodes(nodes(), query_str="blue whale")
        assert [node.score for node in results] == pytest.approx([node.score for node in expected], abs=1e-5)


def test_an_embedding_model_is_refused_on_construction(minilm: Path) -> None:
    with pytest.raises(errors.ModelLoadError):
        LocalRerank(minilm)
