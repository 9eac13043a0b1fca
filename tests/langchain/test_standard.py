from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import EmbeddingsIntegrationTests, RetrieversIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from qwen_embed_integrations.langchain import LocalEmbeddings, RerankRetriever, ServedEmbeddings, ServedRerank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from loopback import Server

MODEL = "Qwen/Qwen3-Embedding-0.6B"


class TestServedEmbeddingsUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[ServedEmbeddings]:
        return ServedEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": MODEL, "base_url": "http://127.0.0.1:9/v1"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        outside = {"QWEN_EMBED_API_KEY": "sk-secret", "QWEN_EMBED_BASE_URL": "http://127.0.0.1:9/v1"}
        return outside, {"model": MODEL}, {"api_key": "sk-secret", "base_url": "http://127.0.0.1:9/v1"}


class TestServedEmbeddingsIntegration(EmbeddingsIntegrationTests):
    @pytest.fixture(autouse=True)
    def _running(self, server: Server) -> None:
        self._params = {"model": MODEL, "base_url": server.base_url}

    @property
    def embeddings_class(self) -> type[ServedEmbeddings]:
        return ServedEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return self._params


class _Local:
    @pytest.fixture(autouse=True)
    def _installed(self, minilm: Path) -> None:
        self._params = {"model": str(minilm)}

    @pytest.fixture
    def model(self) -> Iterator[LocalEmbeddings]:
        made = LocalEmbeddings(**self._params)
        yield made
        made.close()

    @property
    def embeddings_class(self) -> type[LocalEmbeddings]:
        return LocalEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return self._params


class TestLocalEmbeddingsUnit(_Local, EmbeddingsUnitTests):
    pass


class TestLocalEmbeddingsIntegration(_Local, EmbeddingsIntegrationTests):
    pass


class TestRerankRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _running(self, served: Callable[..., ServedEmbeddings], served_rerank: Callable[..., ServedRerank]) -> None:
        store = InMemoryVectorStore.from_texts([f"text {number}" for number in range(8)], served())
        self._params = {"retriever": store.as_retriever(search_kwargs={"k": 8}), "reranker": served_rerank()}

    @property
    def retriever_constructor(self) -> type[RerankRetriever]:
        return RerankRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return self._params

    @property
    def retriever_query_example(self) -> str:
        return "text 3"
