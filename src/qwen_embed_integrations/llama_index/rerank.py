"""LlamaIndex's node postprocessor interface over a Reranker."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]  # its documented place
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode
from pydantic import Field

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.llama_index.ranked_node import RankedNode
from qwen_embed_integrations.llama_index.settings import CoreSettings
from qwen_embed_integrations.profiles import RerankProfile  # noqa: TC001 pydantic reads the annotation at runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llama_index.core.schema import NodeWithScore, QueryBundle

    from qwen_embed_integrations.reranker import RankedDocument, Reranker

dispatcher = get_dispatcher(__name__)


class RerankerPostprocessor(BaseNodePostprocessor):
    """A node postprocessor whose work a `Reranker` does."""

    instruction: str | None = Field(frozen=True)
    top_n: int | None = Field(ge=1)
    score_threshold: float | None

    def __init__(self, **settings: Any) -> None:
        # Stated for type checkers, which would take the fields of this class for all there are.
        super().__init__(**settings)

    @property
    @abstractmethod
    def reranker(self) -> Reranker:
        """The core object: texts instead of nodes, usage, an instruction for one call."""

    @abstractmethod
    async def _areranker(self) -> Reranker:
        """Return the core object, loading it off the event loop if need be."""

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query = _given(query_bundle)
        if not nodes:
            return []
        with self._announced(nodes, query) as kept:
            ranked = self.reranker.rerank(query.query_str, _texts(nodes), top_n=self.top_n)
            kept.extend(self._scored(nodes, ranked))
        return kept

    @dispatcher.span
    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query = _given(query_bundle)
        if not nodes:
            return []
        with self._announced(nodes, query) as kept:
            reranker = await self._areranker()
            ranked = await reranker.arerank(query.query_str, _texts(nodes), top_n=self.top_n)
            kept.extend(self._scored(nodes, ranked))
        return kept

    @abstractmethod
    def _model_name(self) -> str:
        """Return what observers are told about the model."""

    @contextmanager
    def _announced(self, nodes: list[NodeWithScore], query: QueryBundle) -> Iterator[list[NodeWithScore]]:
        kept: list[NodeWithScore] = []
        top_n = len(nodes) if self.top_n is None else self.top_n
        dispatcher.event(ReRankStartEvent(query=query, nodes=nodes, top_n=top_n, model_name=self._model_name()))
        payload: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: self._model_name(),
            EventPayload.QUERY_STR: query.query_str,
            EventPayload.TOP_K: top_n,
        }
        try:
            with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
                yield kept
                event.on_end(payload={EventPayload.NODES: kept})
        finally:
            dispatcher.event(ReRankEndEvent(nodes=kept))

    def _scored(self, nodes: list[NodeWithScore], ranked: list[RankedDocument]) -> Iterator[NodeWithScore]:
        for index, score in ranked:
            if self.score_threshold is None or score >= self.score_threshold:
                retrieved = nodes[index]
                yield RankedNode(node=retrieved.node, score=score, retrieval_score=retrieved.score)


class ModelRerank(CoreSettings, RerankerPostprocessor):
    """A node postprocessor with a reranker of its own."""

    model: str = Field(frozen=True)
    profile: RerankProfile | None = Field(frozen=True)

    @property
    def reranker(self) -> Reranker:
        """The core object: texts instead of nodes, usage, an instruction for one call."""
        return cast("Reranker", self._get())

    async def _areranker(self) -> Reranker:
        return cast("Reranker", await self._aget())

    def _share(self, core: Reranker) -> Reranker:
        return core.with_options(instruction=self.instruction, show_progress=self.show_progress)

    def _model_name(self) -> str:
        return self.model


def _given(query_bundle: QueryBundle | None) -> QueryBundle:
    if query_bundle is None:
        raise InvalidInputError(
            "`query_bundle` is None, and without a query nothing can be ranked. Pass query_str='...' or "
            "query_bundle=QueryBundle('...').",
            parameter="query_bundle",
        )
    return query_bundle


def _texts(nodes: list[NodeWithScore]) -> list[str]:
    return [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
