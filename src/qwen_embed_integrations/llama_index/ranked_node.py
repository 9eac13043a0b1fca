"""RankedNode: a node with its rerank score, and the score it was retrieved with."""

from __future__ import annotations

from llama_index.core.schema import NodeWithScore


class RankedNode(NodeWithScore):
    """A node that was reranked.

    The earlier score is kept beside the node and not in its metadata, where it would change the node's hash and become
    part of the text that models read.

    Attributes:
        node: The node that was given.
        score: Relevance by the reranker.
        retrieval_score: The score before reranking; None where there was none.
    """

    retrieval_score: float | None = None
