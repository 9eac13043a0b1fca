"""What served embedding and served reranking share: a connection, batches, usage, and the place to ask at."""

from __future__ import annotations

import threading
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar

from qwen_embed_integrations.engine import Usage
from qwen_embed_integrations.errors import EndpointNotFoundError
from qwen_embed_integrations.inputs import check_name
from qwen_embed_integrations.served.connection import Connection
from qwen_embed_integrations.served.recognition import Recognition
from qwen_embed_integrations.served.replies import parse_json, tokens_used
from qwen_embed_integrations.served.splitting import in_batches

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
    from typing import Any

    from qwen_embed_integrations.engine import Batch
    from qwen_embed_integrations.options import LongText, ServedOptions
    from qwen_embed_integrations.served.flow import Flow
    from qwen_embed_integrations.served.splitting import Item
    from qwen_embed_integrations.server_info import Task

T = TypeVar("T")


class ServedEngine:
    """A model behind HTTP."""

    task: Task

    def __init__(self, model: str, options: ServedOptions) -> None:
        check_name(model, parameter="model")
        self.model = model
        self.long_text: LongText = options.long_text
        self.connection = Connection(options)
        self.server = Recognition(self.connection.base_url, task=self.task, model=model, dialect=options.dialect)
        self._batch_size = options.batch_size
        self._missing: set[str] = set()
        self._usage = Usage()
        self._lock = threading.Lock()

    @property
    def usage(self) -> Usage:
        """Tokens and requests so far."""
        return self._usage

    @property
    def batch_size(self) -> int:
        """Most texts for the next request, within all limits that are known by now."""
        return min(self._batch_size, self.server.max_batch or self._batch_size)

    @property
    def max_tokens(self) -> int | None:
        """Longest text that the model reads, where the server said so."""
        return self.server.info.max_tokens

    def describe(self) -> dict[str, str | int | None]:
        """Tell what is known of the server by now."""
        info = self.server.info
        return {
            "server": info.kind,
            "version": info.version,
            "max_batch": self.batch_size,
            "max_tokens": info.max_tokens,
        }

    def take_at_most(self, count: int) -> None:
        """Remember how many texts the server takes at once."""
        with self._lock:
            self._batch_size = min(self._batch_size, count)

    def somewhere(self, paths: Callable[[], Sequence[str]], talk: Callable[[str], Flow[T]]) -> Flow[T]:
        """Do this at the first of the paths that the server has.

        Args:
            paths: The paths, which may be others once the server has said what it is.
            talk: What to do at a path.
        """
        tried: set[str] = set()
        telling: EndpointNotFoundError | None = None
        while True:
            # What was missing comes last, and comes: a server that was restarted may have it elsewhere now.
            path = min((path for path in paths() if path not in tried), key=self._missing.__contains__)
            try:
                done = yield from talk(path)
            except EndpointNotFoundError as error:
                if telling is None or path not in self._missing:
                    telling = error
                tried.add(path)
                # Infinity may have it elsewhere, and vLLM mounts none for a model of another kind.
                yield from self.server.ask(needed=True)
                if tried >= set(paths()):
                    raise telling from None
            else:
                self._missing = (self._missing | tried) - {path}
                return done

    def parse(self, reply: bytes, path: str) -> Any:
        """Return what a reply says, counting what it cost."""
        said = parse_json(reply, self.connection.url(path))
        with self._lock:
            self._usage += Usage(tokens_used(said), 1)
        return said

    def run(self, texts: Sequence[str], flow: Callable[[Sequence[Item]], Flow[list[Batch]]]) -> Iterator[Batch]:
        """Run a flow over the texts, a batch at a time."""
        for batches in self.connection.run(map(flow, in_batches(texts, self))):
            yield from batches

    async def arun(
        self, texts: Sequence[str], flow: Callable[[Sequence[Item]], Flow[list[Batch]]]
    ) -> AsyncGenerator[Batch, None]:
        """Run a flow over the texts, a batch at a time."""
        async with aclosing(self.connection.arun(map(flow, in_batches(texts, self)))) as parts:
            async for batches in parts:
                for batch in batches:
                    yield batch

    def close(self) -> None:
        """Close connections and threads."""
        self.connection.close()

    async def aclose(self) -> None:
        """Close connections and threads, those of the running event loop too."""
        await self.connection.aclose()
