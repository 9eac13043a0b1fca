"""text-embeddings-inference, by its source at 1.9.3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qwen_embed_integrations.served.address import root_of
from qwen_embed_integrations.served.dialects.base import Body, Dialect, Reranks, flag, text, whole
from qwen_embed_integrations.served.dialects.examination import Causes, Examination, Remedies, SelfReport, Tokenize
from qwen_embed_integrations.server_info import ServerInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_embed_integrations.profiles import Pooling
    from qwen_embed_integrations.served.flow import Flow
    from qwen_embed_integrations.served.questions import Questions


def recognise(questions: Questions) -> Flow[bool]:
    """Ask whether it is TEI, which lists no models."""
    if (yield from questions.owner()) is not None:
        return False
    return isinstance((yield from questions.ask("/info")).get("model_type"), dict)


def describe(questions: Questions) -> Flow[ServerInfo]:
    """Ask what it runs."""
    info = yield from questions.ask("/info")
    kinds = info.get("model_type")
    kinds = kinds if isinstance(kinds, dict) else {}
    embedding = kinds.get("embedding")
    return ServerInfo(
        kind="tei",
        version=text(info.get("version")),
        task="embed" if "embedding" in kinds else "rerank" if "reranker" in kinds else None,
        model=text(info.get("model_id")),
        max_batch=whole(info.get("max_client_batch_size")),
        max_tokens=whole(info.get("max_input_length")),
        pooling=text(embedding.get("pooling")) if isinstance(embedding, dict) else None,
    )


def rerank_body(_model: str, query: str, documents: Sequence[str], _instruction: str | None) -> Body:
    """Build TEI's form: `texts`, one model, no instruction."""
    return {"query": query, "texts": list(documents), "raw_scores": False, "return_text": False}


def report(questions: Questions) -> Flow[SelfReport]:
    """Ask whether it cuts texts."""
    return SelfReport(cuts_texts=flag((yield from questions.hint("/info")).get("auto_truncate")))


def read_tokens(reply: Any) -> list[Any] | None:
    """Return the ids of the one text that was sent, each of which comes in an object of its own."""
    tokens = reply[0] if isinstance(reply, list) and reply else None
    return (
        [token.get("id") if isinstance(token, dict) else None for token in tokens] if isinstance(tokens, list) else None
    )


def start_embedder(model: str, pooling: Pooling | None) -> str:
    """Return the command that serves an embedding model."""
    command = f"text-embeddings-router --model-id {model}"
    return command if pooling is None else f"{command} --pooling {'last-token' if pooling == 'last' else pooling}"


DIALECT = Dialect(
    name="tei",
    title="text-embeddings-inference",
    recognise=recognise,
    describe=describe,
    # Its rerank route is at the root.
    reranks=Reranks(
        paths=lambda base_url, _: (f"{root_of(base_url)}/rerank",),
        body=rerank_body,
        instruction=lambda _: "lost",
        top_n=False,
    ),
    examination=Examination(report=report, tokenize=Tokenize(text_field="inputs", read=read_tokens)),
    causes=Causes(
        long_text_cut="--auto-truncate is on, as by default.",
        queue_full="It takes --max-concurrent-requests texts at once.",
    ),
    remedies=Remedies(start_embedder=start_embedder, default_prompt_flags="--default-prompt, --default-prompt-name"),
)
