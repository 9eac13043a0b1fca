"""ServedRerank: a reranker behind a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_index.core.callbacks import CallbackManager

from qwen_embed_integrations.llama_index.rerank import ModelRerank
from qwen_embed_integrations.llama_index.settings import ServerSettings, name_of
from qwen_embed_integrations.reranker import Reranker

if TYPE_CHECKING:
    from pydantic import SecretStr
    from typing_extensions import Unpack

    from qwen_embed_integrations.options import ServedKeywords
    from qwen_embed_integrations.profiles import RerankProfile


class ServedRerank(ServerSettings, ModelRerank):
    """Rerank nodes through SGLang, vLLM, TEI, Infinity, llama.cpp or an API that reranks.

    The nodes that are given stay as they are; what comes back is a `RankedNode` for each that is kept, best first.

    Example:
        ```python
        rerank = ServedRerank("Qwen/Qwen3-Reranker-0.6B", base_url="http://localhost:30001/v1", top_n=5)
        engine = index.as_query_engine(similarity_top_k=50, node_postprocessors=[rerank])
        ```

    Args:
        model: Name the server knows the model by; also picks the profile.
        base_url: Address up to and including `/v1`; read from `QWEN_EMBED_BASE_URL` where not given.
        api_key: Sent as a bearer token; read from `QWEN_EMBED_API_KEY` where not given. Pickled, so that worker
            processes have it, but never part of `to_dict`.
        top_n: How many nodes to keep; None keeps all.
        score_threshold: Leaves out nodes that score lower.
        instruction: Replaces the profile's default instruction.
        profile: What the model wants, where its name does not tell.
        callback_manager: LlamaIndex callbacks.
        **options: See `ServedOptions`.

    Raises:
        InvalidInputError: If an argument cannot be used. Nothing is sent before the first use.
        WrongServerError: If `model` is an embedding model.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        base_url: str | None = None,
        api_key: SecretStr | str | None = None,
        top_n: int | None = None,
        score_threshold: float | None = None,
        instruction: str | None = None,
        profile: RerankProfile | None = None,
        callback_manager: CallbackManager | None = None,
        **options: Unpack[ServedKeywords],
    ) -> None:
        super().__init__(
            model=name_of(model),
            base_url=base_url,
            api_key=api_key,
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
        return "ServedRerank"

    def _build(self) -> Reranker:
        return Reranker.served(self.model, profile=self.profile, instruction=self.instruction, **self._options())
