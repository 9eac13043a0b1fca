"""What served embedding and served reranking share: a connection, batches, usage, and knowing the server."""

from __future__ import annotations

import threading
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

from qwen_embed_integrations.checks import check_long_text, check_name, check_whole_number
from qwen_embed_integrations.engine import Usage
from qwen_embed_integrations.errors import ServerBusyError, ServerConnectionError
from qwen_embed_integrations.served.connection import Connection
from qwen_embed_integrations.served.flows import in_batches
from qwen_embed_integrations.served.probe import ServerInfo, Task, probe
from qwen_embed_integrations.served.replies import parse_json, tokens_used

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
    from typing import Any

    from qwen_embed_integrations.engine import Batch, LongText
    from qwen_embed_integrations.served.connection import Flow
    from qwen_embed_integrations.served.flows import Item

# Seconds before a server that could not say what it is gets asked again.
_ASK_AGAIN = 30.0


class ServedEngine:
    """A model behind HTTP."""

    task: Task

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        api_key: str | None,
        batch_size: int,
        max_concurrency: int,
        timeout: float,
        max_retries: int,
        long_text: LongText,
        default_headers: Mapping[str, str] | None,
    ) -> None:
        check_whole_number(batch_size, parameter="batch_size", least=1)
        check_long_text(long_text)
        check_name(model, parameter="model")
        self.model = model
        self.batch_size = batch_size
        self.long_text: LongText = long_text
        self.connection = Connection(
            base_url,
            api_key=api_key,
            max_concurrency=max_concurrency,
            timeout=timeout,
            max_retries=max_retries,
            default_headers=default_headers,
        )
        self._server: ServerInfo | None = None
        self._ask_at = 0.0
        self._usage = Usage()
        self._lock = threading.Lock()

    @property
    def usage(self) -> Usage:
        """Tokens and requests so far."""
        return self._usage

    def server(self, *, needed: bool = False) -> Flow[ServerInfo]:
        """Find out what the server is, and that it is for this.

        Args:
            needed: Whether nothing can be done without an answer.
        """
        if self._server is not None:
            return self._server
        if not needed and time.monotonic() < self._ask_at:
            return ServerInfo()
        try:
            found = yield from probe(self.connection.root_url)
        except (ServerBusyError, ServerConnectionError) as error:
            if needed and isinstance(error, ServerBusyError):
                # It will say, with the patience that any request gets.
                found = yield from probe(self.connection.root_url, optional=False)
            else:
                # Not an answer to remember: the server may be one that answers the wrong question with nonsense.
                self._ask_at = time.monotonic() + _ASK_AGAIN
                return ServerInfo()
        found.require(self.task, self.connection.base_url)
        self._server = found
        return found

    def parse(self, reply: bytes, path: str) -> Any:
        """Return what a reply says, counting what it cost."""
        said = parse_json(reply, self.connection.url(path))
        with self._lock:
            self._usage += Usage(tokens_used(said), 1)
        return said

    def run(self, texts: Sequence[str], flow: Callable[[Sequence[Item]], Flow[list[Batch]]]) -> Iterator[Batch]:
        """Run a flow over the texts, a batch at a time."""
        for batches in self.connection.run(map(flow, in_batches(texts, self.batch_size))):
            yield from batches

    async def arun(
        self, texts: Sequence[str], flow: Callable[[Sequence[Item]], Flow[list[Batch]]]
    ) -> AsyncGenerator[Batch, None]:
        """Run a flow over the texts, a batch at a time."""
        async with aclosing(self.connection.arun(map(flow, in_batches(texts, self.batch_size)))) as parts:
            async for batches in parts:
                for batch in batches:
                    yield batch

    def close(self) -> None:
        """Close connections and threads."""
        self.connection.close()

    async def aclose(self) -> None:
        """Close connections and threads, those of the running event loop too."""
        await self.connection.aclose()
