"""The HTTP side: a pooled client, bounded concurrency, and drivers that run flows, sync and async.

What a flow is, `flow.py` says; only the sending differs between threads and event loops.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections import deque
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import openai

from qwen_embed_integrations.errors import ServerConnectionError, ServerError
from qwen_embed_integrations.served import failures
from qwen_embed_integrations.served.address import normalize_base_url
from qwen_embed_integrations.served.openai_clients import Clients

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
    from concurrent.futures import Future

    from qwen_embed_integrations.options import ServedOptions
    from qwen_embed_integrations.served.flow import Flow, Request

T = TypeVar("T")

# The type the SDK is told to parse replies into: none, so that parsing stays here.
_RAW = cast("type[Any]", bytes)


class Connection:
    """One server, at most `max_concurrency` requests at a time.

    Threads share one client and one bounded pool; every event loop gets a client and a bound of its own on first use,
    since sockets belong to the loop that opened them.
    """

    def __init__(self, options: ServedOptions) -> None:
        self.base_url = normalize_base_url(options.base_url)
        self._clients = Clients(self.base_url, options)
        self._optional_timeout = min(options.timeout, 5.0)
        self._max_concurrency = options.max_concurrency
        self._lock = threading.Lock()
        self._threads: _Threads | None = None
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = weakref.WeakKeyDictionary()

    def url(self, path: str) -> str:
        """Return the whole URL of a path, for messages."""
        return path if "://" in path else f"{self.base_url}/{path}"

    # --- threads -------------------------------------------------------------------------------------------------

    def run(self, flows: Iterable[Flow[T]]) -> Iterator[T]:
        """Run flows in the pool and yield what they return, in order; the first error ends the others."""
        threads = self._own_threads()
        ended = threading.Event()
        ahead: deque[Future[T]] = deque()
        try:
            for flow in flows:
                ahead.append(self._submit(threads, flow, ended))
                # A short lead keeps the pool busy and memory flat in the number of flows.
                if len(ahead) >= 2 * self._max_concurrency:
                    yield self._result(ahead.popleft())
            while ahead:
                yield self._result(ahead.popleft())
        except (KeyboardInterrupt, SystemExit):
            # The interpreter waits for the pool's threads: they shall not start another try.
            self.close()
            raise
        finally:
            ended.set()
            for future in ahead:
                future.cancel()

    def _submit(self, threads: _Threads, flow: Flow[T], ended: threading.Event) -> Future[T]:
        try:
            return threads.pool.submit(self._drive, threads.client, flow, ended)
        except RuntimeError as error:
            raise self._closed() from error

    def _result(self, future: Future[T]) -> T:
        try:
            return future.result()
        except CancelledError:
            raise self._closed() from None

    def _closed(self) -> ServerConnectionError:
        return ServerConnectionError(
            f"The connection to {self.base_url} was closed while it was in use.", url=self.base_url
        )

    def _drive(self, client: openai.OpenAI, flow: Flow[T], ended: threading.Event) -> T:
        try:
            request = next(flow)
            while not ended.is_set():
                try:
                    reply = self._send(client, request)
                except ServerError as error:
                    request = flow.throw(error)
                else:
                    request = flow.send(reply)
        except StopIteration as done:
            return cast("T", done.value)
        except ServerError as error:
            failures.hide(error, self._clients.secrets)
            raise
        # Nobody waits for this any more: ask the server nothing else.
        flow.close()
        raise CancelledError

    def _send(self, client: openai.OpenAI, request: Request) -> bytes:
        try:
            if request.body is None:
                reply = client.get(request.path, cast_to=_RAW, options=self._options(request))
            else:
                reply = client.post(request.path, cast_to=_RAW, body=request.body, options=self._options(request))
        except openai.APIError as error:
            # Not from it: the SDK's error carries the request's headers, and its text what the server echoed.
            raise failures.from_sdk(error, self.url(request.path), self._clients.secrets) from None
        except RuntimeError:
            if client.is_closed():
                raise self._closed() from None
            raise
        return cast("bytes", reply)

    def _own_threads(self) -> _Threads:
        with self._lock:
            # A forked child inherits the object but neither its threads nor its sockets.
            if self._threads is None or self._threads.pid != os.getpid():
                client = self._clients.threaded()
                pool = ThreadPoolExecutor(self._max_concurrency, thread_name_prefix="qwen-embed")
                # A forgotten close() must leave no socket behind.
                end = weakref.finalize(self, _end, client, pool, os.getpid())
                self._threads = _Threads(client, pool, os.getpid(), end)
            return self._threads

    # --- event loops ---------------------------------------------------------------------------------------------

    async def arun(self, flows: Iterable[Flow[T]]) -> AsyncGenerator[T, None]:
        """Run flows in tasks and yield what they return, in order; the first error ends the others."""
        loop = await self._own_loop()
        ahead: deque[asyncio.Task[T]] = deque()
        try:
            for flow in flows:
                ahead.append(asyncio.ensure_future(self._adrive(loop, flow)))
                if len(ahead) >= 2 * self._max_concurrency:
                    yield await ahead.popleft()
            while ahead:
                yield await ahead.popleft()
        finally:
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)

    async def _adrive(self, loop: _Loop, flow: Flow[T]) -> T:
        try:
            async with loop.slots:
                request = next(flow)
                while True:
                    try:
                        reply = await self._asend(loop.client, request)
                    except ServerError as error:
                        request = flow.throw(error)
                    else:
                        request = flow.send(reply)
        except StopIteration as done:
            return cast("T", done.value)
        except ServerError as error:
            failures.hide(error, self._clients.secrets)
            raise

    async def _asend(self, client: openai.AsyncOpenAI, request: Request) -> bytes:
        try:
            if request.body is None:
                reply = await client.get(request.path, cast_to=_RAW, options=self._options(request))
            else:
                reply = await client.post(request.path, cast_to=_RAW, body=request.body, options=self._options(request))
        except openai.APIError as error:
            raise failures.from_sdk(error, self.url(request.path), self._clients.secrets) from None
        except RuntimeError:
            if client.is_closed():
                raise self._closed() from None
            raise
        return cast("bytes", reply)

    async def _own_loop(self) -> _Loop:
        running = asyncio.get_running_loop()
        with self._lock:
            known = self._loops.get(running)
            if known is None:
                self._drop_closed_loops()
                client = self._clients.looped()
                known = _Loop(client, asyncio.Semaphore(self._max_concurrency), self._lifeline(running, client))
                self._loops[running] = known
            else:
                return known
        await known.lifeline.__anext__()
        return known

    async def _lifeline(
        self, loop: asyncio.AbstractEventLoop, client: openai.AsyncOpenAI
    ) -> AsyncGenerator[None, None]:
        # asyncio.run() finishes open async generators before it closes the loop: the last moment to close sockets.
        try:
            yield
        finally:
            self._loops.pop(loop, None)
            await client.close()

    def _drop_closed_loops(self) -> None:
        # A loop that was closed without shutdown_asyncgens() cannot end its lifeline; dropping it frees its sockets.
        for reference in self._loops.keyrefs():
            loop = reference()
            if loop is not None and loop.is_closed():
                self._loops.pop(loop, None)

    def _options(self, request: Request) -> Any:
        return {"max_retries": 0, "timeout": self._optional_timeout} if request.optional else {}

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the threads' client and pool; event loops close theirs when they end."""
        with self._lock:
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.end()

    async def aclose(self) -> None:
        """Close the running event loop's client, and what `close` closes."""
        with self._lock:
            mine = self._loops.pop(asyncio.get_running_loop(), None)
        if mine is not None:
            await mine.lifeline.aclose()
        await asyncio.to_thread(self.close)


@dataclass(frozen=True)
class _Threads:
    client: openai.OpenAI
    pool: ThreadPoolExecutor
    pid: int
    end: Callable[[], object]


def _end(client: openai.OpenAI, pool: ThreadPoolExecutor, pid: int) -> None:
    if pid == os.getpid():
        pool.shutdown(wait=False, cancel_futures=True)
        client.close()


@dataclass(frozen=True)
class _Loop:
    client: openai.AsyncOpenAI
    slots: asyncio.Semaphore
    lifeline: AsyncGenerator[None, None]
