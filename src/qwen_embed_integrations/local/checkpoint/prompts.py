"""A query, an instruction and documents as a reranker's prompts, in tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.local.sequences import Tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_embed_integrations.local.checkpoint.tokenizer import Tokenizer
    from qwen_embed_integrations.profiles import RerankProfile


def encode_prompts(
    tokenizer: Tokenizer, profile: RerankProfile, query: str, instruction: str | None, documents: Sequence[str]
) -> Tokens:
    """Tokenize one prompt a document.

    As in the official recipes (QwenLM/Qwen3-Embedding README, mixedbread-ai/mxbai-rerank mxbai_rerank_v2.py): the
    prompt's pieces are tokenized apart, and only the one that holds the document is cut.

    Args:
        tokenizer: The checkpoint's.
        profile: Holds the prompt.
        query: What is searched for.
        instruction: What the query is about, where the model takes one.
        documents: Texts to score.

    Raises:
        InvalidInputError: If the query and the prompt around it leave no room for a document.
        TextTooLongError: If a document is too long and `long_text` is `"error"`.
    """
    before, after = profile.pieces(query, instruction)
    *opening, lead = before
    tail, *closing = after
    head, body, end = (
        [token for piece in pieces for token in tokenizer.raw.encode(piece, add_special_tokens=False)]
        for pieces in (opening, [lead], closing)
    )
    without_document = len(head) + len(body) + len(end)
    if without_document >= tokenizer.max_tokens:
        raise InvalidInputError(
            f"`query` and the prompt around it have {without_document} tokens; the model reads {tokenizer.max_tokens}, "
            "so nothing of a document would be left. Shorten the query.",
            parameter="query",
        )
    bodies = tokenizer.encode(
        [lead + document + tail for document in documents],
        reserved=len(head) + len(end),
        parameter="documents",
        # In a prompt of many pieces this is one among others, and nothing ends with it.
        special_tokens=isinstance(profile.body, str),
    )
    return Tokens([head + body + end for body in bodies.sequences], bodies.shortened)
