"""What is known about a server: which software, for what, within which limits. Loads nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qwen_embed_integrations.errors import WrongServerError

Task = Literal["embed", "rerank"]

# The dialects: each is a module of `served/dialects/` by that name. In the order in which a server is asked what it is:
# what one answer to /v1/models settles comes first, what needs more questions later, hosted APIs last.
DialectName = Literal[
    "sglang",
    "vllm",
    "llama_cpp",
    "lm_studio",
    "sglang_router",
    "tei",
    "infinity",
    "ollama",
    "openai",
    "dashscope",
    "jina",
    "mixedbread",
    "cohere",
]
Kind = Literal[DialectName, "unknown"]


@dataclass(frozen=True, kw_only=True)
class ServerInfo:
    """What a server is. Found out by asking it, or stated by the caller, and then nothing is asked.

    Attributes:
        kind: The software or the API, by the name of its dialect.
        version: Its version, as it writes it; None where it does not say, and then a current one is assumed.
        task: What its model is for; None where it does not say.
        model: The model it runs, as it names it.
        max_batch: The most texts it takes in a request.
        max_tokens: The longest text its model reads.
        pooling: How it pools, as it names it.
    """

    kind: Kind = "unknown"
    version: str | None = None
    task: Task | None = None
    model: str | None = None
    max_batch: int | None = None
    max_tokens: int | None = None
    pooling: str | None = None

    def require(self, task: Task, url: str, advice: str = "") -> None:
        """Refuse a server that is for something else.

        Args:
            task: What it is wanted for.
            url: For the message.
            advice: What to start instead.

        Raises:
            WrongServerError: Saying what it runs.
        """
        if self.task is None or self.task == task:
            return
        runs, wanted = "a reranker", "an embedding server"
        if task == "rerank":
            runs, wanted = "an embedding model", "a reranker"
            advice += " To rerank by its vectors, use Reranker.over(Embedder.served(...))."
        raise WrongServerError(
            f"{url} runs {runs} ({self.model}); point `base_url` at {wanted}. {advice}".rstrip(), url=url
        )
