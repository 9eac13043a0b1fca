"""LocalRerank: a reranker in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_index.core.callbacks import CallbackManager

from qwen_embed_integrations.llama_index.rerank import ModelRerank
from qwen_embed_integrations.llama_index.settings import LocalSettings, name_of
from qwen_embed_integrations.reranker import Reranker

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Unpack

    from qwen_embed_integrations.options import LocalKeywords
    from qwen_embed_integrations.profiles import RerankProfile


class LocalRerank(LocalSettings, ModelRerank):
    """Rerank nodes in this process with a Qwen3-Reranker or a cross-encoder.

    The nodes that are given stay as they are; what comes back is a `RankedNode` for each that is kept, best first. The
    model is loaded here, and once more in every process that unpickles the object.

    Example:
        ```python
        rerank = LocalRerank("Qwen/Qwen3-Reranker-0.6B", top_n=5)
        engine = index.as_query_engine(similarity_top_k=50, node_postprocessors=[rerank])
        ```

    Args:
        model: A folder or a hub id.
        top_n: How many nodes to keep; None keeps all.
        score_threshold: Leaves out nodes that score lower.
        instruction: Replaces the profile's default instruction.
        profile: What the model wants, where neither its name nor its files tell.
        callback_manager: LlamaIndex callbacks.
        **options: See `LocalOptions`.

    Raises:
        MissingExtraError: If torch or transformers is not installed.
        ModelLoadError: If the checkpoint is missing, incomplete or unsupported.
        InvalidInputError: If an argument cannot be used.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        top_n: int | None = None,
        score_threshold: float | None = None,
        instruction: str | None = None,
        profile: RerankProfile | None = None,
        callback_manager: CallbackManager | None = None,
        **options: Unpack[LocalKeywords],
    ) -> None:
        super().__init__(
            model=name_of(model),
            top_n=top_n,
            score_threshold=score_threshold,
            instruction=instruction,
            profile=profile,
            callback_manager=callback_manager or CallbackManager([]),
            **options,
        )

    @classmethod
    def class_name(cls) -> str:
        """Return the name LlamaIndex serialises this class by."""
        return "LocalRerank"

    def _build(self) -> Reranker:
        return Reranker.local(self.model, profile=self.profile, instruction=self.instruction, **self._options())
