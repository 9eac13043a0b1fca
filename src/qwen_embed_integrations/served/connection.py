"""The HTTP side: pooled clients, bounded concurrency, and drivers that run flows, sync and async.

What a flow is, `flow.py` says; only the sending differs between threads and event loops.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections import deque
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import openai

from qwen_embed_integrations import interrupts
from qwen_embed_integrations.errors import ServerConnectionError, ServerError
from qwen_embed_integrations.served import failures
from qwen_embed_integrations.served.address import normalize_base_url, whole_url
from qwen_embed_integrations.served.flow import Background, Request
from qwen_embed_integrations.served.openai_clients import Clients
from qwen_embed_integrations.served.thread_pool import PoolClosedError, ThreadPool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
    from concurrent.futures import Future

    from qwen_embed_integrations.options import ServedOptions
    from qwen_embed_integrations.served.flow import Flow

T = TypeVar("T")

# Seconds for a request that is optional.
_OPTIONAL_TIMEOUT = 5.0
# The type the SDK is told to parse replies into: none, so that parsing stays here.
_RAW = cast("type[Any]", bytes)


class Connection:
    """One server, at most `max_concurrency` requests in flight.

    Threads share one client and one bounded pool; every event loop gets a client and a bound of its own on first use,
    since sockets belong to the loop that opened them.
    """

    def __init__(self, options: ServedOptions) -> None:
        self.base_url = normalize_base_url(options.base_url)
        self._clients = Clients(self.base_url, options)
        self._timeout = options.timeout
        self._optional_timeout = min(options.timeout, _OPTIONAL_TIMEOUT)
        self._max_concurrency = options.max_concurrency
        self._lock = threading.Lock()
        self._threads: _Threads | None = None
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = weakref.WeakKeyDictionary()

    def url(self, path: str) -> str:
        """Return the whole URL of a path, for messages."""
        return whole_url(self.base_url, path)

    # --- threads -------------------------------------------------------------------------------------------------

    def run(self, flows: Iterable[Flow[T]]) -> Iterator[T]:
        """Run flows in the pool and yield what they return, in order; the first error ends the others."""
        threads = self._open_threads()
        stopped = threading.Event()
        futures: deque[Future[T]] = deque()
        try:
            for flow in flows:
                futures.append(self._submit(threads, flow, stopped))
                # A short lead keeps the pool busy and memory flat in the number of flows.
                if len(futures) >= 2 * self._max_concurrency:
                    yield self._result(futures.popleft())
            while futures:
                yield self._result(futures.popleft())
        except (KeyboardInterrupt, SystemExit):
            # What is under way shall not try again, nor send anything else.
            self.close()
            raise
        finally:
            stopped.set()
            for future in futures:
                future.cancel()

    def _submit(self, threads: _Threads, flow: Flow[T], stopped: threading.Event, *, first: bool = False) -> Future[T]:
        try:
            return threads.pool.submit(partial(self._drive, threads, flow, stopped), first=first)
        except PoolClosedError:
            raise self._closed() from None
        except RuntimeError as error:
            if failures.is_out_of_threads(error):
                raise failures.out_of_threads(error, self.base_url) from None
            raise

    def _result(self, future: Future[T]) -> T:
        try:
            return interrupts.wait(future)
        except CancelledError:
            raise self._closed() from None

    def _closed(self) -> ServerConnectionError:
        return ServerConnectionError(
            f"The connection to {self.base_url} was closed while it was in use.", url=self.base_url
        )

    def _from_runtime(self, error: RuntimeError, client: openai.OpenAI | openai.AsyncOpenAI) -> ServerError | None:
        """Return our error for one of the SDK's or of Python's; None where it is neither."""
        if client.is_closed():
            return self._closed()
        return failures.out_of_threads(error, self.base_url) if failures.is_out_of_threads(error) else None

    def _drive(self, threads: _Threads, flow: Flow[T], stopped: threading.Event) -> T:
        try:
            step = next(flow)
            while not stopped.is_set():
                try:
                    if isinstance(step, Background):
                        # Before what waits: it shall run while its answer is still of use.
                        self._submit(threads, step.flow, threading.Event(), first=True)
                        reply = b""
                    else:
                        reply = self._send(threads.client, step)
                except ServerError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(reply)
        except StopIteration as done:
            return cast("T", done.value)
        except ServerError as error:
            failures.hide(error, self._clients.secrets)
            raise
        # Nobody waits for this any more: ask the server nothing else.
        flow.close()
        raise CancelledError

    def _send(self, client: openai.OpenAI, request: Request) -> bytes:
        options = self._options(request)
        try:
            if request.body is None:
                reply = client.get(request.path, cast_to=_RAW, options=options)
            else:
                reply = client.post(request.path, cast_to=_RAW, body=request.body, options=options)
        except openai.APIError as error:
            # Not from it: the SDK's error carries the request's headers, and its text what the server echoed.
            raise failures.from_sdk(error, self.url(request.path), self._clients.secrets) from None
        except RuntimeError as error:
            if (ours := self._from_runtime(error, client)) is None:
                raise
            raise ours from None
        return cast("bytes", reply)

    def _open_threads(self) -> _Threads:
        with self._lock:
            # A forked child inherits the object but neither its threads nor its sockets.
            if self._threads is None or self._threads.pid != os.getpid():
                client = self._clients.for_threads()
                pool = ThreadPool(self._max_concurrency, name="qwen-embed")
                # A forgotten close() must leave no socket behind.
                end = weakref.finalize(self, _end, client, pool, os.getpid())
                self._threads = _Threads(client, pool, os.getpid(), end)
            return self._threads

    # --- event loops ---------------------------------------------------------------------------------------------

    async def arun(self, flows: Iterable[Flow[T]]) -> AsyncGenerator[T, None]:
        """Run flows in tasks and yield what they return, in order; the first error ends the others."""
        loop = await self._open_loop()
        tasks: deque[asyncio.Task[T]] = deque()
        background: set[asyncio.Task[None]] = set()
        try:
            for flow in flows:
                tasks.append(asyncio.ensure_future(self._run_in_slot(loop, flow, background)))
                if len(tasks) >= 2 * self._max_concurrency:
                    yield await tasks.popleft()
            while tasks:
                yield await tasks.popleft()
        except BaseException:
            # A call that was cancelled, or failed, leaves nothing running.
            tasks.extend(cast("set[asyncio.Task[T]]", background))
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _run_in_slot(self, loop: _Loop, flow: Flow[T], background: set[asyncio.Task[None]]) -> T:
        await loop.slots.acquire()
        beside: list[Flow[None]] = []
        try:
            return await self._adrive(loop.client, flow, beside)
        finally:
            if beside:
                # It takes over the slot: behind all that waits for one, it would come too late to be of use.
                background.add(self._start_in_slot(loop, beside[0]))
            else:
                loop.slots.release()

    def _start_in_slot(self, loop: _Loop, flow: Flow[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(self._adrive(loop.client, flow, []))
        task.add_done_callback(lambda _: loop.slots.release())
        task.add_done_callback(loop.background.discard)
        loop.background.add(task)
        return task

    async def _adrive(self, client: openai.AsyncOpenAI, flow: Flow[T], beside: list[Flow[None]]) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    if isinstance(step, Background):
                        beside.append(step.flow)
                        reply = b""
                    else:
                        reply = await self._asend(client, step)
                except ServerError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(reply)
        except StopIteration as done:
            return cast("T", done.value)
        except ServerError as error:
            failures.hide(error, self._clients.secrets)
            raise
        finally:
            flow.close()

    async def _asend(self, client: openai.AsyncOpenAI, request: Request) -> bytes:
        options = self._options(request)
        try:
            if request.body is None:
                reply = await client.get(request.path, cast_to=_RAW, options=options)
            else:
                reply = await client.post(request.path, cast_to=_RAW, body=request.body, options=options)
        except openai.APIError as error:
            raise failures.from_sdk(error, self.url(request.path), self._clients.secrets) from None
        except RuntimeError as error:
            if (ours := self._from_runtime(error, client)) is None:
                raise
            raise ours from None
        return cast("bytes", reply)

    async def _open_loop(self) -> _Loop:
        running = asyncio.get_running_loop()
        with self._lock:
            known = self._loops.get(running)
            if known is not None:
                return known
            self._drop_closed_loops()
            client = self._clients.for_loop()
            slots = asyncio.Semaphore(self._max_concurrency)
            opened = _Loop(client, slots, self._close_with(running, client))
            self._loops[running] = opened
        await opened.closer.__anext__()
        return opened

    async def _close_with(
        self, loop: asyncio.AbstractEventLoop, client: openai.AsyncOpenAI
    ) -> AsyncGenerator[None, None]:
        # asyncio.run() finishes open async generators before it closes the loop: the last moment to close sockets.
        try:
            yield
        finally:
            opened = self._loops.pop(loop, None)
            if opened is not None:
                await opened.stop_background()
            await client.close()

    def _drop_closed_loops(self) -> None:
        # A loop that was closed without shutdown_asyncgens() cannot run its closer; dropping it frees its sockets.
        for reference in self._loops.keyrefs():
            loop = reference()
            if loop is not None and loop.is_closed():
                self._loops.pop(loop, None)

    def _options(self, request: Request) -> Any:
        options: dict[str, float] = {"max_retries": 0, "timeout": self._optional_timeout} if request.optional else {}
        if request.timeout is not None:
            options["timeout"] = min(request.timeout, options.get("timeout", self._timeout))
        return options

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
            opened = self._loops.pop(asyncio.get_running_loop(), None)
        if opened is not None:
            await opened.stop_background()
            await opened.closer.aclose()
        self.close()


@dataclass(frozen=True)
class _Threads:
    client: openai.OpenAI
    pool: ThreadPool
    pid: int
    end: Callable[[], object]


def _end(client: openai.OpenAI, pool: ThreadPool, pid: int) -> None:
    if pid == os.getpid():
        pool.close()
        client.close()


@dataclass(frozen=True)
class _Loop:
    client: openai.AsyncOpenAI
    slots: asyncio.Semaphore
    closer: AsyncGenerator[None, None]
    background: set[asyncio.Task[None]] = field(default_factory=set)

    async def stop_background(self) -> None:
        tasks = list(self.background)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
