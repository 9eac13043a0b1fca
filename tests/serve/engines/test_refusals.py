from __future__ import annotations

import pytest

from qwen_embed_integrations.serve.engines.refusals import unservable
from qwen_embed_integrations.serve.target import Target


@pytest.mark.parametrize(
    ("target", "advice"),
    [
        (Target(model="m", task="embed", architecture="jina_bert"), "text-embeddings-router --model-id m"),
        (Target(model="m", task="rerank", architecture="jina_bert"), "text-embeddings-router --model-id m."),
        (Target(model="m", task="embed", architecture="bert"), "Use --engine vllm, or run it in this process: Emb"),
        (Target(model="m", task="embed", architecture="bert", class_name="Contriever"), "why. Run it in this process"),
        (Target(model="m", task="rerank", architecture="other"), "Run it in this process: Reranker.local"),
    ],
)
def test_an_error_tells_what_serves_the_model_instead(target: Target, advice: str) -> None:
    error = unservable(target, "why")
    assert str(error).startswith("`model` m: why. ")
    assert advice in str(error)
    assert error.parameter == "model"
