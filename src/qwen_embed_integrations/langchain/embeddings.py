"""LangChain's embeddings interface over an Embedder."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import TYPE_CHECKING, cast

from langchain_core.embeddings import Embeddings

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.langchain.settings import Settings
from qwen_embed_integrations.profiles import ModelProfile  # noqa: TC001 pydantic reads the annotation at runtime

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_core.documents import Document

    from qwen_embed_integrations.embedder import Embedder


class EmbedderEmbeddings(Settings, Embeddings):
    """Embeddings whose work an `Embedder` does."""

    profile: ModelProfile | None = None
    """What the model wants, where its name or its files do not tell."""
    dimensions: int | None = None
    """Size of the vectors; None for the model's own."""
    query_instruction: str | None = None
    """Replaces the profile's default instruction for queries."""

    @property
    def embedder(self) -> Embedder:
        """The core object: arrays instead of lists, many queries at once, usage, fingerprint."""
        return cast("Embedder", self._get())

    def _share(self, core: Embedder) -> Embedder:
        return core.with_options(
            dimensions=self.dimensions, instruction=self.query_instruction, show_progress=self.show_progress_bar
        )

    def embed_documents(self, texts: Iterable[str]) -> list[list[float]]:
        """Embed texts that are searched.

        Args:
            texts: The documents.

        Returns:
            A unit vector for each, in order.

        Raises:
            InvalidInputError: If a text is blank or no string; nothing is sent then.
            QwenEmbedError: If the server or the model fails; `positions` and `completed` say how far it came.
        """
        return self.embedder.embed_lists(texts, "document")

    def embed_query(self, text: str, *, instruction: str | None = None) -> list[float]:
        """Embed a text that searches.

        Args:
            text: The query.
            instruction: Replaces `query_instruction` for this call.

        Returns:
            A unit vector.

        Raises:
            InvalidInputError: If the text is blank, or the model takes no instruction.
            QwenEmbedError: If the server or the model fails.
        """
        return self.embedder.embed_lists([text], "query", instruction=instruction)[0]

    async def aembed_documents(self, texts: Iterable[str]) -> list[list[float]]:
        """Embed texts that are searched, on the running event loop; see `embed_documents`."""
        embedder: Embedder = await self._aget()
        return await embedder.aembed_lists(texts, "document")

    async def aembed_query(self, text: str, *, instruction: str | None = None) -> list[float]:
        """Embed a text that searches, on the running event loop; see `embed_query`."""
        embedder: Embedder = await self._aget()
        return (await embedder.aembed_lists([text], "query", instruction=instruction))[0]

    def key_encoder(self, document: Document) -> str:
        """Name a document for LangChain's `index`, so that other vectors are another document.

        Pass it as `index(..., key_encoder=embeddings.key_encoder)`: after a change of model, dimensions or
        instruction every document is embedded again, where a hash of the text alone would skip them all.

        Args:
            document: The document.

        Returns:
            A UUID, the same for the same text, metadata and `embedder.fingerprint`.

        Raises:
            InvalidInputError: If the metadata holds something that JSON cannot.
        """
        try:
            known = json.dumps([self.embedder.fingerprint, document.page_content, document.metadata], sort_keys=True)
        except (TypeError, ValueError) as error:
            raise InvalidInputError(
                f"`document` has metadata that is no JSON ({error}); it must be, to be hashed.", parameter="document"
            ) from error
        # A UUID because some vector stores take no other id; SHA-256 because texts may come from strangers.
        return str(uuid.UUID(bytes=hashlib.sha256(known.encode()).digest()[:16]))
