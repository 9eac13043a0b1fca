"""mxbai-rerank v2 scores as its authors' recipe says, and as sentence-transformers does, in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import checkpoints
from logits import logits_of
from qwen_embed_integrations import Reranker
from qwen_embed_integrations.errors import InvalidInputError, LongTextWarning, TextTooLongError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

QUERY = "Which planet is the red one?"
# Their ends would melt into the newline that follows, were the prompt tokenized as one.
DOCUMENTS = ["Mars.", "Venus?", "Jupiter, the largest planet,\nhas a red spot. " * 3, "Saturn \n", " x", "quick fox"]
PREFIX = (
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n"
)
TASK = (
    "You are a search relevance expert who evaluates how well documents match search queries. For each query-document "
    "pair, carefully analyze the semantic relationship between them, then provide your binary relevance judgment (0 "
    "for not relevant, 1 for relevant).\nRelevance:"
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.qwen2(
        tmp_path_factory.mktemp("mxbai") / "mxbai-rerank-base-v2", max_tokens=1024, initializer_range=0.1
    )


def prompts(tokenizer: Any, documents: Sequence[str], instruction: str | None, max_length: int) -> list[list[int]]:
    """Return token ids as mxbai-rerank's own library puts them together, piece by piece."""

    def ids(piece: str) -> list[int]:
        found: list[int] = tokenizer(piece, add_special_tokens=False)["input_ids"]
        return found

    query = f"instruction: {instruction}\nquery: {QUERY}" if instruction else f"query: {QUERY}"
    around = len(ids(PREFIX) + ids("\n") + ids(TASK) + ids(SUFFIX))
    room = max_length - around - len(ids(query))
    return [
        ids(PREFIX)
        + ids(query)
        + (ids("\n") + ids(f"document: {document}"))[:room]
        + ids("\n")
        + ids(TASK)
        + ids(SUFFIX)
        for document in documents
    ]


def official_logits(
    folder: Path, documents: Sequence[str], instruction: str | None = None, max_length: int = 1024
) -> np.ndarray:
    """Return logit("1") - logit("0") at the end of each prompt."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    yes, no = (tokenizer(answer, add_special_tokens=False)["input_ids"][0] for answer in "10")
    with torch.no_grad():
        last = [
            model(input_ids=torch.tensor([each])).logits[0, -1]
            for each in prompts(tokenizer, documents, instruction, max_length)
        ]
    return np.array([float(row[yes] - row[no]) for row in last])


@pytest.mark.parametrize("instruction", [None, "Find planets"])
def test_scores_equal_the_official_recipe(folder: Path, instruction: str | None) -> None:
    wanted = official_logits(folder, DOCUMENTS, instruction)
    assert np.ptp(wanted) > 0.5  # the documents differ
    with Reranker.local(folder, dtype="float32", device="cpu", instruction=instruction) as ours:
        np.testing.assert_allclose(logits_of(ours, QUERY, DOCUMENTS), wanted, atol=1e-4)
        np.testing.assert_allclose(
            logits_of(ours, QUERY, DOCUMENTS, "Find moons"), official_logits(folder, DOCUMENTS, "Find moons"), atol=1e-4
        )


def test_the_prompt_tokenized_as_one_would_be_another(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    apart = prompts(tokenizer, DOCUMENTS, None, 1024)
    whole = [f"{PREFIX}query: {QUERY}\ndocument: {document}\n{TASK}{SUFFIX}" for document in DOCUMENTS]
    assert [a == b for a, b in zip(apart, tokenizer(whole)["input_ids"], strict=True)] == [False] * 6


def test_scores_equal_sentence_transformers(folder: Path) -> None:
    modules = pytest.importorskip("sentence_transformers.cross_encoder.modules")
    base = pytest.importorskip("sentence_transformers.base.modules.transformer")
    model = pytest.importorskip("sentence_transformers").CrossEncoder
    template = (
        f"{PREFIX}query: {{{{ messages[0].content }}}}\ndocument: {{{{ messages[1].content }}}}\n{TASK}"
        f"{SUFFIX}".replace("\n", "{{ '\\n' }}")
    )
    reader = base.Transformer(
        str(folder), transformer_task="text-generation", processor_kwargs={"chat_template": template}
    )
    yes, no = (reader.tokenizer.convert_tokens_to_ids(answer) for answer in "10")
    theirs = model(modules=[reader, modules.LogitScore(yes, no)], device="cpu", activation_fn=torch.nn.Identity())
    # No text whose end melts into the newline: it is tokenized as one there.
    plain, query = ["Mars is red", "quick brown fox", "x"], "red planet"
    wanted = theirs.predict([(query, document) for document in plain])
    with Reranker.local(folder, dtype="float32", device="cpu") as ours:
        np.testing.assert_allclose(logits_of(ours, query, plain), wanted, atol=1e-4)


def test_a_document_too_long_is_cut_and_the_prompt_after_it_stays(folder: Path) -> None:
    long = [*DOCUMENTS, "quick brown fox " * 600]
    with (
        Reranker.local(folder, dtype="float32", device="cpu") as ours,
        pytest.warns(LongTextWarning, match="position 6"),
    ):
        found = logits_of(ours, QUERY, long)
    np.testing.assert_allclose(found, official_logits(folder, long), atol=1e-4)


def test_a_document_too_long_is_refused_on_request(folder: Path) -> None:
    with (
        Reranker.local(folder, device="cpu", long_text="error") as ours,
        pytest.raises(TextTooLongError, match="`documents` at position 1"),
    ):
        ours.rerank(QUERY, ["short", "quick brown fox " * 600])


def test_a_query_that_leaves_no_room_is_refused(folder: Path) -> None:
    with (
        Reranker.local(folder, device="cpu") as ours,
        pytest.raises(InvalidInputError, match="Shorten the query"),
    ):
        ours.rerank("quick brown fox " * 600, DOCUMENTS)


def test_a_conversion_to_a_classifier_scores_the_same(folder: Path, tmp_path: Path) -> None:
    converted = checkpoints.as_classifier(folder, tmp_path / "mxbai-rerank-base-v2", "1", "0")
    with Reranker.local(converted, dtype="float32", device="cpu") as ours:
        np.testing.assert_allclose(logits_of(ours, QUERY, DOCUMENTS), official_logits(folder, DOCUMENTS), atol=1e-4)
