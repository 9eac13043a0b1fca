"""A local reranker tells what it runs on, and its memory is free when it is closed."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import pytest

import checkpoints
from qwen_embed_integrations import Reranker
from qwen_embed_integrations.errors import ClosedError
from qwen_embed_integrations.local import rerank

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("kind", "pooling", "max_tokens"), [("prompted", "last", 512), ("cross-encoder", None, 128)])
def test_describing_tells_what_computes(
    kind: str, pooling: str | None, max_tokens: int, tiny_reranker: Path, tmp_path: Path
) -> None:
    folder = tiny_reranker if kind == "prompted" else checkpoints.bert_cross_encoder(tmp_path / "cross-encoder")
    with Reranker.local(folder, device="cpu", dtype="float32") as reranker:
        described = reranker._engine.describe()  # type: ignore[attr-defined]
    assert "attention; linear layers" in described.pop("kernels")
    assert described == {
        "device": "cpu",
        "dtype": "float32",
        "pooling": pooling,
        "max_tokens": max_tokens,
        "token_budget": 1024,
    }


@pytest.mark.parametrize("kind", ["prompted", "cross-encoder"])
async def test_a_closed_reranker_lets_its_model_go_and_says_so(
    kind: str, tiny_reranker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: list[weakref.ref[Any]] = []
    load = rerank.load_model

    def watched(*arguments: Any, **options: Any) -> Any:
        model = load(*arguments, **options)
        models.append(weakref.ref(model.base_model))  # the head of a causal model is not kept
        return model

    monkeypatch.setattr(rerank, "load_model", watched)
    folder = tiny_reranker if kind == "prompted" else checkpoints.bert_cross_encoder(tmp_path / "cross-encoder")
    reranker = Reranker.local(folder, device="cpu")
    assert len(await reranker.arerank("fox?", ["the quick brown fox", "dog"])) == 2
    assert models[0]() is not None
    await reranker.aclose()
    assert models[0]() is None
    with pytest.raises(ClosedError, match=r"is closed.*Reranker\.local"):
        reranker.rerank("fox?", ["dog"])
    with pytest.raises(ClosedError):
        await reranker.arerank("fox?", ["dog"])
