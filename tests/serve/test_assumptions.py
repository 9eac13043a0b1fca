from __future__ import annotations

import pytest

from qwen_embed_integrations.serve.assumptions import assumption_warning
from qwen_embed_integrations.serve.target import Target, resolve

URL = "http://127.0.0.1:30000"
UNKNOWN = Target(model="someone/unknown", task="embed")


def test_nothing_is_assumed_of_a_known_model() -> None:
    for model in ("Qwen/Qwen3-Embedding-0.6B", "Qwen/Qwen3-Reranker-0.6B", "mxbai-embed-large"):
        assert assumption_warning(resolve(model), "sglang", URL) is None


def test_nothing_is_assumed_of_a_folder_that_says_how_it_pools() -> None:
    assert (
        assumption_warning(Target(model="m", task="embed", architecture="bert", pooling="cls"), "sglang", URL) is None
    )


def test_what_sglang_takes_of_an_unknown_model_is_said_with_the_way_to_find_out() -> None:
    message = assumption_warning(UNKNOWN, "sglang", URL) or ""
    assert "the pooling and the prompt of someone/unknown are not known here" in message
    assert "first token of BERT and XLM-R" in message
    assert f"qwen-embed doctor {URL} --reference someone/unknown" in message
    assert "\n" not in message


def test_vllm_reads_the_models_own_files() -> None:
    assert "modules.json" in (assumption_warning(UNKNOWN, "vllm", URL) or "")


@pytest.mark.parametrize(("class_name", "token"), [("XLMRobertaModel", "first"), ("Qwen3Model", "last")])
def test_of_a_known_class_the_token_is_named(class_name: str, token: str) -> None:
    target = Target(model="m", task="embed", architecture="x", class_name=class_name)
    assert f"SGLang takes the {token} token" in (assumption_warning(target, "sglang", URL) or "")


def test_an_unknown_reranker_is_said_to_be_taken_for_a_cross_encoder() -> None:
    message = assumption_warning(Target(model="someone/unknown", task="rerank"), "sglang", URL) or ""
    assert "cross-encoder" in message
    assert "--profile" in message
    known = Target(model="m", task="rerank", architecture="bert", classifies=True)
    assert assumption_warning(known, "sglang", URL) is None
