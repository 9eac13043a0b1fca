"""One server as an engine uses it: batches of texts go down to the wire here, and their values come up."""

from __future__ import annotations

import threading
from contextlib import aclosing
from typing import TYPE_CHECKING

from qwen_embed_integrations.errors import EndpointNotFoundError
from qwen_embed_integrations.inputs import check_name
from qwen_embed_integrations.served.connection import Connection
from qwen_embed_integrations.served.flow import Background
from qwen_embed_integrations.served.limits import Limits
from qwen_embed_integrations.served.recognition import Recognition
from qwen_embed_integrations.served.splitting import in_batches, request_values
from qwen_embed_integrations.served.usage import UsageCounter
from qwen_embed_integrations.served.waiting import wait, wait_in_loop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
    from typing import TypeAlias

    from qwen_embed_integrations.engine import Batch
    from qwen_embed_integrations.options import ServedOptions
    from qwen_embed_integrations.served.endpoint import Endpoint
    from qwen_embed_integrations.served.flow import Flow
    from qwen_embed_integrations.served.splitting import Item
    from qwen_embed_integrations.server_info import Task

    # The endpoints a request may go to, best first, by what is known of the server.
    Endpoints: TypeAlias = Callable[[Recognition], Sequence[Endpoint]]


class Server:
    """A model behind HTTP.

    Attributes:
        connection: Sends requests, from threads and event loops.
        recognition: What the server is, as far as that is known.
        limits: What it takes in a request.
        usage: What it has cost so far.
    """

    def __init__(self, model: str, task: Task, options: ServedOptions) -> None:
        check_name(model, parameter="model")
        self.connection = Connection(options)
        self.recognition = Recognition(self.connection.base_url, task=task, model=model, options=options)
        self.limits = Limits(options, self.recognition)
        self.usage = UsageCounter()
        self._model = model
        # Paths the server did not have when they were last tried.
        self._missing_paths: set[str] = set()
        self._lock = threading.Lock()

    def describe(self) -> dict[str, str | int | None]:
        """Return what is known of the server by now; None for what is not. Nothing is asked for it.

        Returns:
            `server` (the kind), `version`, `model` (as the server names it, or else as the caller does), `address`,
            `max_batch` (texts in a request), `max_tokens` (of a text) and `pooling`.
        """
        info = self.recognition.info
        return {
            "server": info.kind,
            "version": info.version,
            "model": info.model or self._model,
            "address": self.recognition.base_url,
            "max_batch": self.limits.max_batch,
            "max_tokens": info.max_tokens,
            "pooling": info.pooling,
        }

    def run(self, texts: Sequence[str], endpoints: Endpoints) -> Iterator[Batch]:
        """Send texts in batches and yield their values in parts, in order of the batches.

        Args:
            texts: The texts.
            endpoints: Where they may be sent.
        """
        if texts and self.recognition.comes_first:
            list(self.connection.run([self.recognition.ask(required=True)]))
            self.recognition.check()
        flows = (self._send_batch(items, endpoints) for items in in_batches(texts, self.limits))
        for batches in self.connection.run(flows):
            attempt = self.recognition.attempt
            if attempt is not None:
                wait(attempt.ended, attempt.hold_back)
            self.recognition.check()
            yield from batches

    async def arun(self, texts: Sequence[str], endpoints: Endpoints) -> AsyncGenerator[Batch, None]:
        """Send texts in batches and yield their values in parts; see `run`."""
        if texts and self.recognition.comes_first:
            [_ async for _ in self.connection.arun([self.recognition.ask(required=True)])]
            self.recognition.check()
        flows = (self._send_batch(items, endpoints) for items in in_batches(texts, self.limits))
        async with aclosing(self.connection.arun(flows)) as parts:
            async for batches in parts:
                attempt = self.recognition.attempt
                if attempt is not None:
                    await wait_in_loop(attempt.ended, attempt.hold_back)
                self.recognition.check()
                for batch in batches:
                    yield batch

    def _send_batch(self, items: Sequence[Item], endpoints: Endpoints) -> Flow[list[Batch]]:
        batches = yield from self._at_first_endpoint(items, endpoints)
        # After the first reply, so that a server that is down is tried, and reported, only once.
        asking = self.recognition.ask_in_background()
        if asking is not None:
            yield Background(asking)
        return batches

    def _at_first_endpoint(self, items: Sequence[Item], endpoints: Endpoints) -> Flow[list[Batch]]:
        """Get the values at the first endpoint that the server has.

        Raises:
            EndpointNotFoundError: If it has none of them; the one that says most.
        """
        tried: set[str] = set()
        not_found: EndpointNotFoundError | None = None
        while True:
            untried = [endpoint for endpoint in endpoints(self.recognition) if endpoint.path not in tried]
            if not untried and not_found is not None:
                raise not_found
            # What was missing comes last, and comes: a server that was restarted may have it elsewhere now.
            endpoint = min(untried, key=lambda endpoint: endpoint.path in self._missing_paths)
            try:
                batches = yield from request_values(items, endpoint, self.limits)
            except EndpointNotFoundError as error:
                if not_found is None or endpoint.path not in self._missing_paths:
                    not_found = error
                tried.add(endpoint.path)
                # Infinity may have it elsewhere, and vLLM mounts none for a model of another kind.
                if not self.recognition.is_known:
                    yield from self.recognition.ask(required=False)
            else:
                with self._lock:
                    self._missing_paths = (self._missing_paths | tried) - {endpoint.path}
                return batches

    def close(self) -> None:
        """Close connections and threads."""
        self.connection.close()
        self.recognition.abandon_attempt()

    async def aclose(self) -> None:
        """Close connections and threads, those of the running event loop too."""
        await self.connection.aclose()
        self.recognition.abandon_attempt()
