"""What a retrieval dataset is: documents, queries, and which documents answer which query."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from qwen_embed_integrations.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Dataset:
    """Documents, judged queries and judgements.

    Attributes:
        name: What tables and reports call it.
        documents: Text by document id.
        queries: Text by query id; each has at least one relevant document.
        relevance: Grade by document id, by query id, in any order; a grade above 0 is relevant.
        about: Where it comes from and what was left out, for people.

    Raises:
        InvalidInputError: If a query has no relevant document, or judgements are for a query that is not there.
    """

    name: str
    documents: Mapping[str, str]
    queries: Mapping[str, str]
    relevance: Mapping[str, Mapping[str, int]]
    about: Mapping[str, str | int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = [query for query in self.relevance if query not in self.queries]
        if unknown:
            raise InvalidInputError(
                f"`relevance` judges query {unknown[0]!r}, which is not among the queries. Add it or drop its "
                "judgements.",
                parameter="relevance",
            )
        for query in self.queries:
            if not any(grade > 0 for grade in self.relevance.get(query, {}).values()):
                raise InvalidInputError(
                    f"`relevance` has no grade above 0 for query {query!r}. Judge a document relevant or drop the "
                    "query.",
                    parameter="relevance",
                )

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the texts, ids, order and judgements, in hexadecimal."""
        content = [list(self.documents.items()), list(self.queries.items()), dict(self.relevance)]
        text = json.dumps(content, ensure_ascii=False, sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def sample(self, limit: int, *, seed: int = 0) -> Dataset:
        """Keep some of the queries and all of the documents.

        Args:
            limit: How many queries to keep, at most.
            seed: Picks which.

        Returns:
            A dataset whose queries are in the order they had.

        Raises:
            InvalidInputError: If `limit` is below 1.
        """
        if limit < 1:
            raise InvalidInputError(f"`limit` is {limit}; keep at least 1 query.", parameter="limit")
        if limit >= len(self.queries):
            return self
        chosen = np.sort(np.random.default_rng(seed).choice(len(self.queries), limit, replace=False))
        ids = list(self.queries)
        kept = [ids[index] for index in chosen]
        return replace(
            self,
            queries={query: self.queries[query] for query in kept},
            relevance={query: self.relevance[query] for query in kept},
            about={**self.about, "sampled": f"{limit} of {len(ids)} queries, seed {seed}"},
        )
