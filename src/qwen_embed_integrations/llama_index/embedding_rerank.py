"""EmbeddingRerank: an embedding model as the second stage."""

from __future__ import annotations

from typing import Any

from llama_index.core.callbacks import CallbackManager
from pydantic import ConfigDict, Field, field_serializer, field_validator

from qwen_embed_integrations.llama_index.embedding import EmbedderEmbedding
from qwen_embed_integrations.llama_index.local_embedding import LocalEmbedding
from qwen_embed_integrations.llama_index.rerank import RerankerPostprocessor
from qwen_embed_integrations.llama_index.served_embedding import ServedEmbedding
from qwen_embed_integrations.reranker import Reranker

_KINDS = {kind.class_name(): kind for kind in (LocalEmbedding, ServedEmbedding)}


class EmbeddingRerank(RerankerPostprocessor):
    """Rerank nodes by the vectors of a better embedding model than the one that retrieved.

    Scores are cosines, from -1 to 1. The nodes that are given stay as they are; what comes back is a `RankedNode` for
    each that is kept, best first.

    Example:
        ```python
        better = ServedEmbedding("Qwen/Qwen3-Embedding-4B", base_url="http://localhost:30000/v1")
        rerank = EmbeddingRerank(better, top_n=5)
        engine = index.as_query_engine(similarity_top_k=50, node_postprocessors=[rerank])
        ```

    Args:
        embed_model: Embeds the query and the nodes, anew in each call, without its cache. It stays the caller's to
            close. Dumped and pickled along, as it is by itself.
        top_n: How many nodes to keep; None keeps all.
        score_threshold: Leaves out nodes that score lower.
        instruction: Replaces the instruction for queries.
        callback_manager: LlamaIndex callbacks.

    Raises:
        InvalidInputError: If an instruction is given and the model takes none.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True)

    embed_model: EmbedderEmbedding = Field(frozen=True)

    def __init__(
        self,
        embed_model: EmbedderEmbedding | dict[str, Any],
        *,
        top_n: int | None = None,
        score_threshold: float | None = None,
        instruction: str | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        super().__init__(
            embed_model=embed_model,
            top_n=top_n,
            score_threshold=score_threshold,
            instruction=instruction,
            callback_manager=callback_manager or CallbackManager([]),
        )
        # Wrong settings should fail here, and with the core's own errors.
        _ = self.reranker

    @field_validator("embed_model", mode="plain")
    @classmethod
    def _restored(cls, value: Any) -> EmbedderEmbedding:
        if isinstance(value, EmbedderEmbedding):
            return value
        kind = _KINDS.get(value.get("class_name", "")) if isinstance(value, dict) else None
        if kind is None:
            raise ValueError("`embed_model` must be a ServedEmbedding or a LocalEmbedding of this package")
        return kind.from_dict(dict(value))

    @field_serializer("embed_model")
    def _dumped(self, embed_model: EmbedderEmbedding) -> dict[str, Any]:
        return embed_model.to_dict()

    @classmethod
    def class_name(cls) -> str:
        """Return the name LlamaIndex serialises this class by."""
        return "EmbeddingRerank"

    @property
    def reranker(self) -> Reranker:
        """The core object: texts instead of nodes, usage, an instruction for one call."""
        return Reranker.over(self.embed_model.embedder, instruction=self.instruction)

    async def _areranker(self) -> Reranker:
        embedder = await self.embed_model._aget()  # noqa: SLF001 a class of this package
        return Reranker.over(embedder, instruction=self.instruction)

    def _model_name(self) -> str:
        return self.embed_model.model_name
