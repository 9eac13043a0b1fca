"""Qwen3 rerankers score as the official recipe and sentence-transformers do, in float32."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import checkpoints
from logits import logits_of, scores_of
from qwen_embed_integrations import Reranker, RerankProfile, profile_for
from qwen_embed_integrations.errors import (
    InvalidInputError,
    LongTextWarning,
    ModelLoadError,
    TextTooLongError,
    UnknownModelWarning,
)
from recipes import official_logits

if TYPE_CHECKING:
    from pathlib import Path

QUERY = "Which planet is known as the Red Planet?"
DOCUMENTS = [
    "Venus is often called Earth's twin because of its similar size and proximity.",
    "Mars",
    "Jupiter, the largest planet in our solar system,\nhas a prominent red spot. " * 3,
    "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
    "x",
]


@pytest.fixture(scope="session", params=["as on the hub", "appending an end token"])
def qwen3_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qwen3") / "Qwen3-Reranker-0.6B"
    return checkpoints.qwen3(folder, append_eos="appending" in request.param, max_tokens=1024, initializer_range=0.1)


def test_qwen3_scores_equal_the_official_recipe(qwen3_folder: Path) -> None:
    default = "Given a web search query, retrieve relevant passages that answer the query"
    wanted = official_logits(qwen3_folder, QUERY, DOCUMENTS, default)
    assert np.ptp(wanted) > 0.5  # the documents differ
    with Reranker.local(qwen3_folder, dtype="float32", device="cpu") as ours:
        np.testing.assert_allclose(logits_of(ours, QUERY, DOCUMENTS), wanted, atol=1e-4)
        np.testing.assert_allclose(
            logits_of(ours, QUERY, DOCUMENTS, "Find planets"),
            official_logits(qwen3_folder, QUERY, DOCUMENTS, "Find planets"),
            atol=1e-4,
        )


def test_a_head_of_its_own_is_read_though_the_config_ties_it_to_the_embeddings(tmp_path: Path) -> None:
    default = "Given a web search query, retrieve relevant passages that answer the query"
    tied = checkpoints.qwen3(
        tmp_path / "tied" / "Qwen3-Reranker-0.6B",
        append_eos=False,
        max_tokens=1024,
        initializer_range=0.1,
        tie_word_embeddings=True,
    )
    trained = tmp_path / "trained" / tied.name
    shutil.copytree(tied, trained)
    weights = load_file(tied / "model.safetensors")
    assert "lm_head.weight" not in weights
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].flip(0).contiguous()
    save_file(weights, trained / "model.safetensors", metadata={"format": "pt"})
    wanted = official_logits(trained, QUERY, DOCUMENTS, default)
    assert np.abs(wanted - official_logits(tied, QUERY, DOCUMENTS, default)).max() > 0.1
    with Reranker.local(trained, dtype="float32", device="cpu") as ours:
        np.testing.assert_allclose(logits_of(ours, QUERY, DOCUMENTS), wanted, atol=1e-4)


def test_a_document_too_long_is_cut_between_prefix_and_suffix(qwen3_folder: Path) -> None:
    long = [*DOCUMENTS, "quick brown fox " * 600]
    default = "Given a web search query, retrieve relevant passages that answer the query"
    with (
        Reranker.local(qwen3_folder, dtype="float32", device="cpu") as ours,
        pytest.warns(LongTextWarning, match="position 5"),
    ):
        found = logits_of(ours, QUERY, long)
    np.testing.assert_allclose(found, official_logits(qwen3_folder, QUERY, long, default, 1024), atol=1e-4)


def test_a_document_too_long_is_refused_on_request(qwen3_folder: Path) -> None:
    with Reranker.local(qwen3_folder, dtype="float32", device="cpu", long_text="error") as ours:
        with pytest.raises(TextTooLongError, match="`documents` at position 1") as caught:
            ours.rerank(QUERY, ["short", "quick brown fox " * 600])
        assert caught.value.positions == (1,)


def test_scores_do_not_depend_on_company_or_budget(tiny_reranker: Path) -> None:
    with Reranker.local(tiny_reranker, dtype="float32", device="cpu", token_budget=1) as one_by_one:
        alone = scores_of(one_by_one, QUERY, DOCUMENTS)
    with Reranker.local(tiny_reranker, dtype="float32", device="cpu", token_budget=100_000) as together:
        np.testing.assert_allclose(scores_of(together, QUERY, DOCUMENTS), alone, atol=1e-5)


async def test_async_scores_equal_sync_scores(tiny_reranker: Path) -> None:
    async with Reranker.local(tiny_reranker, dtype="float32", device="cpu") as ours:
        assert await ours.arerank(QUERY, DOCUMENTS) == ours.rerank(QUERY, DOCUMENTS)


def test_a_qwen3_folder_of_another_name_is_prompted_as_qwen3_reranker_with_a_warning(
    tiny_reranker: Path, tmp_path: Path
) -> None:
    checkpoints.qwen3(tmp_path / "mine", append_eos=False)
    with pytest.warns(UnknownModelWarning, match="Qwen3-Reranker"):
        renamed = Reranker.local(tmp_path / "mine", dtype="float32", device="cpu")
    with renamed, Reranker.local(tiny_reranker, dtype="float32", device="cpu") as named:
        np.testing.assert_allclose(scores_of(renamed, QUERY, DOCUMENTS), scores_of(named, QUERY, DOCUMENTS), atol=1e-6)


def test_a_query_that_leaves_no_room_for_documents_is_refused(tiny_reranker: Path) -> None:
    with (
        Reranker.local(tiny_reranker, device="cpu") as ours,
        pytest.raises(InvalidInputError, match="Shorten the query") as caught,
    ):
        ours.rerank("quick brown fox " * 600, DOCUMENTS)
    assert caught.value.parameter == "query"


def test_a_conversion_to_a_classifier_scores_the_same(qwen3_folder: Path, tmp_path: Path) -> None:
    converted = checkpoints.as_classifier(qwen3_folder, tmp_path / "Qwen3-Reranker-0.6B-seq-cls", "yes", "no")
    default = "Given a web search query, retrieve relevant passages that answer the query"
    with (
        pytest.warns(UnknownModelWarning, match="Qwen3-Reranker"),
        Reranker.local(converted, dtype="float32", device="cpu") as ours,
    ):
        np.testing.assert_allclose(
            logits_of(ours, QUERY, DOCUMENTS), official_logits(qwen3_folder, QUERY, DOCUMENTS, default), atol=1e-4
        )


@pytest.mark.parametrize("converted", [False, True], ids=["causal", "classifier"])
def test_qwen3_scores_equal_sentence_transformers(converted: bool, tmp_path: Path) -> None:  # noqa: FBT001 a parameter
    model = pytest.importorskip("sentence_transformers").CrossEncoder
    folder = checkpoints.qwen3(
        tmp_path / "Qwen3-Reranker-0.6B", append_eos=False, max_tokens=1024, initializer_range=0.1
    )
    profile = profile_for("Qwen/Qwen3-Reranker-0.6B")
    assert isinstance(profile, RerankProfile)
    if converted:
        folder = checkpoints.as_classifier(folder, tmp_path / "converted" / "Qwen3-Reranker-0.6B", "yes", "no")
        # As such conversions are used: query and document carry the halves of the prompt.
        head, lead = profile.lead(QUERY).split("<Document>: ")
        pairs = [(head, f"<Document>: {lead}{document}{profile.tail}") for document in DOCUMENTS]
        theirs = model(str(folder), device="cpu", activation_fn=torch.nn.Identity())
    else:
        template = profile.lead("{{ messages[0].content }}") + "{{ messages[1].content }}" + profile.tail
        pairs = [(QUERY, document) for document in DOCUMENTS]
        theirs = model(
            str(folder),
            device="cpu",
            activation_fn=torch.nn.Identity(),
            processor_kwargs={"chat_template": template.replace("\n", "{{ '\\n' }}")},
        )
    with Reranker.local(folder, dtype="float32", device="cpu") as ours:
        np.testing.assert_allclose(logits_of(ours, QUERY, DOCUMENTS), theirs.predict(pairs), atol=1e-4)


def test_a_conversion_with_several_labels_is_refused(tmp_path: Path) -> None:
    folder = checkpoints.qwen3(tmp_path / "Qwen3-Reranker-0.6B", kind="SequenceClassification", num_labels=2)
    with pytest.raises(ModelLoadError, match="2 labels"):
        Reranker.local(folder, device="cpu")


def test_an_explicit_profile_sets_the_prompt_and_the_tokens(tiny_reranker: Path) -> None:
    qwen3 = profile_for("Qwen/Qwen3-Reranker-0.6B")
    assert isinstance(qwen3, RerankProfile)
    swapped = RerankProfile(
        name="swapped",
        method="token_logits",
        architecture="qwen3",
        prefix=qwen3.prefix,
        body=qwen3.body,
        suffix=qwen3.suffix,
        true_token="no",
        false_token="yes",
        default_instruction=qwen3.default_instruction,
    )
    with (
        Reranker.local(tiny_reranker, dtype="float32", device="cpu") as usual,
        Reranker.local(tiny_reranker, dtype="float32", device="cpu", profile=swapped) as turned,
    ):
        np.testing.assert_allclose(
            scores_of(turned, QUERY, DOCUMENTS), 1 - scores_of(usual, QUERY, DOCUMENTS), atol=1e-6
        )
