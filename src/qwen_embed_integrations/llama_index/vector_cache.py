"""An embeddings cache that knows a query from a document and one model from another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.storage.kvstore.types import DEFAULT_COLLECTION, BaseKVStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Lists = list[list[float]]

COLLECTION = "embeddings"
_VECTOR = "vector"


class VectorCache(BaseKVStore):
    """A LlamaIndex store, used with keys that name what a vector depends on.

    LlamaIndex itself looks vectors up by their text alone, so that a query gets a document's vector and a model another
    model's. It does so where `embeddings_cache` is true: this is false, and `fill` is called where the role is known.

    Args:
        store: Where vectors are kept.

    Raises:
        TypeError: If `store` is no LlamaIndex key-value store.
    """

    def __init__(self, store: BaseKVStore) -> None:
        if not isinstance(store, BaseKVStore):
            raise TypeError(f"`embeddings_cache` is {type(store).__name__}; it must be a LlamaIndex BaseKVStore.")
        self.store: BaseKVStore = store.store if isinstance(store, VectorCache) else store

    def __bool__(self) -> bool:
        return False

    def fill(self, texts: Sequence[str], space: str, embed: Callable[[list[str]], Lists]) -> Lists:
        """Return vectors, embedding and keeping those that are not in the store.

        Args:
            texts: The texts.
            space: Names what a vector depends on besides its text.
            embed: Embeds the texts that are left.

        Returns:
            A vector for each text, in order.
        """
        entries = {text: self.get(f"{space}:{text}", COLLECTION) for text in texts}
        missing = [text for text, entry in entries.items() if entry is None]
        if missing:
            for text, vector in zip(missing, embed(missing), strict=True):
                entries[text] = entry = {_VECTOR: vector}
                self.put(f"{space}:{text}", entry, COLLECTION)
        return _in_order(texts, entries)

    async def afill(self, texts: Sequence[str], space: str, embed: Callable[[list[str]], Awaitable[Lists]]) -> Lists:
        """Return vectors, embedding and keeping those that are not known; see `fill`."""
        entries = {text: await self.aget(f"{space}:{text}", COLLECTION) for text in texts}
        missing = [text for text, entry in entries.items() if entry is None]
        if missing:
            for text, vector in zip(missing, await embed(missing), strict=True):
                entries[text] = entry = {_VECTOR: vector}
                await self.aput(f"{space}:{text}", entry, COLLECTION)
        return _in_order(texts, entries)

    # The store's own methods, unchanged.

    def put(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Put an entry into the store."""
        self.store.put(key, val, collection)

    async def aput(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Put an entry into the store."""
        await self.store.aput(key, val, collection)

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """Get an entry from the store."""
        return self.store.get(key, collection)

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """Get an entry from the store."""
        return await self.store.aget(key, collection)

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """Get all entries from the store."""
        return self.store.get_all(collection)

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """Get all entries from the store."""
        return await self.store.aget_all(collection)

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Delete an entry from the store."""
        return self.store.delete(key, collection)

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Delete an entry from the store."""
        return await self.store.adelete(key, collection)


def _in_order(texts: Sequence[str], entries: dict[str, dict[str, Any] | None]) -> Lists:
    return [entry[_VECTOR] for text in texts if (entry := entries[text]) is not None]
