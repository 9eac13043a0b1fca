"""What kind of server is this? Asked with the first use, since SGLang answers the wrong question with nonsense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from qwen_embed_integrations.errors import (
    EndpointNotFoundError,
    ServerBusyError,
    ServerConnectionError,
    ServerError,
    WrongServerError,
)
from qwen_embed_integrations.served.connection import Request
from qwen_embed_integrations.served.failures import message_of
from qwen_embed_integrations.served.replies import parse_json

if TYPE_CHECKING:
    from qwen_embed_integrations.served.connection import Flow

Kind = Literal["sglang", "vllm", "tei", "unknown"]
Task = Literal["embed", "rerank"]


@dataclass(frozen=True)
class ServerInfo:
    """What a server says it is.

    Attributes:
        kind: The software.
        task: What its model is for; None where it does not say.
        model: The model it runs, as it names it.
    """

    kind: Kind = "unknown"
    task: Task | None = None
    model: str | None = None

    def require(self, task: Task, url: str) -> None:
        """Refuse a server that is for something else.

        Raises:
            WrongServerError: Saying what to start instead.
        """
        if self.task is None or self.task == task:
            return
        found, wanted = "a reranker", "an embedding server"
        if task == "rerank":
            found, wanted = "an embedding model", "a reranker"
        advice = {
            ("sglang", "rerank"): " Qwen3-Reranker is served with its chat template and without --is-embedding.",
            ("vllm", "rerank"): " vLLM would answer with plain cosine similarities, without prompts.",
        }.get((self.kind, task), "")
        if task == "rerank":
            advice += " To rerank by its vectors, use Reranker.over(Embedder.served(...))."
        raise WrongServerError(f"{url} runs {found} ({self.model}); point `base_url` at {wanted}.{advice}", url=url)


def probe(root_url: str, *, optional: bool = True) -> Flow[ServerInfo]:
    """Ask a server what it is; a server that does not say is `unknown`.

    Args:
        root_url: Address without `/v1`.
        optional: Whether each question is asked only once and briefly.

    Raises:
        ServerError: If the server is busy or does not answer, which says nothing about what it is.
    """
    # /get_model_info is SGLang before 0.5.6, and its router.
    for path in ("/model_info", "/get_model_info"):
        said = yield from _ask(root_url + path, optional=optional)
        if isinstance(said, dict) and "is_generation" in said:
            return ServerInfo("sglang", _sglang_task(said), said.get("model_path"))
    said = yield from _ask(f"{root_url}/info", optional=optional)
    if isinstance(said, dict) and isinstance(said.get("model_type"), dict):
        task: Task | None = (
            "embed" if "embedding" in said["model_type"] else "rerank" if "reranker" in said["model_type"] else None
        )
        return ServerInfo("tei", task, said.get("model_id"))
    said = yield from _ask(f"{root_url}/v1/models", optional=optional)
    models = said.get("data") if isinstance(said, dict) else None
    first = models[0] if isinstance(models, list) and models and isinstance(models[0], dict) else {}
    if first.get("owned_by") == "vllm":
        # vLLM mounts only the routes its model can serve: a GET on a POST route is 405, on a missing one 404.
        embeds = yield from _exists(f"{root_url}/v1/embeddings")
        return ServerInfo("vllm", "embed" if embeds else "rerank", first.get("id"))
    return ServerInfo(model=first.get("id"))


def _sglang_task(said: dict[str, Any]) -> Task:
    classifies = any(str(name).endswith("ForSequenceClassification") for name in said.get("architectures") or ())
    return "rerank" if said["is_generation"] or classifies else "embed"


def _ask(url: str, *, optional: bool) -> Flow[Any]:
    try:
        reply = yield Request(url, optional=optional)
        return parse_json(reply, url)
    except (ServerBusyError, ServerConnectionError):
        raise
    except ServerError:
        return None


def _exists(url: str) -> Flow[bool]:
    try:
        yield Request(url, optional=True)
    except EndpointNotFoundError as error:
        return error.status == 405 or "not allowed" in message_of(error.body).lower()  # noqa: PLR2004 an HTTP status
    return True
