"""The HTTP side: a pooled client, bounded concurrency, and drivers that run flows, sync and async.

A flow is a generator that yields requests and receives replies: what to ask next is decided once, in a pure
function, and only the sending differs between threads and event loops.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit, urlunsplit

import openai

from qwen_embed_integrations.errors import InvalidInputError, ServerError
from qwen_embed_integrations.served import failures

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterable, Iterator, Mapping
    from concurrent.futures import Future
    from typing import TypeAlias

T = TypeVar("T")

# The type the SDK is told to parse replies into: none, so that parsing stays here.
_RAW = cast("type[Any]", bytes)


@dataclass(frozen=True)
class Request:
    """What to send.

    Attributes:
        path: Relative to the base URL, or an absolute URL on the same server.
        body: JSON body; None makes it a GET.
        optional: Tried once and briefly, for questions whose answer can be done without.
    """

    path: str
    body: Mapping[str, Any] | None = None
    optional: bool = False


if TYPE_CHECKING:
    Flow: TypeAlias = Generator[Request, bytes, T]


class Connection:
    """One server, at most `max_concurrency` requests at a time.

    Threads share one client and one bounded pool; every event loop gets a client and a bound of its own on first use,
    since sockets belong to the loop that opened them.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None,
        max_concurrency: int,
        timeout: float,
        max_retries: int,
        default_headers: Mapping[str, str] | None = None,
    ) -> None:
        self.base_url = normalize_base_url(base_url)
        for name, value, least in (("max_concurrency", max_concurrency, 1), ("max_retries", max_retries, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InvalidInputError(
                    f"`{name}` is {value!r}; it must be a whole number of at least {least}.", parameter=name
                )
        if not timeout > 0:
            raise InvalidInputError(f"`timeout` is {timeout!r}; it must be above 0 seconds.", parameter="timeout")
        self._settings: dict[str, Any] = {
            "base_url": self.base_url,
            # Keyless servers ignore it; without one the SDK would look for the caller's OpenAI key.
            "api_key": api_key or "EMPTY",
            "timeout": timeout,
            "max_retries": max_retries,
            "default_headers": dict(default_headers or {}),
        }
        self._secrets = [secret for secret in (api_key, *(default_headers or {}).values()) if secret]
        self._optional_timeout = min(timeout, 5.0)
        self._max_concurrency = max_concurrency
        self._lock = threading.Lock()
        self._threads: _Threads | None = None
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = weakref.WeakKeyDictionary()

    @property
    def root_url(self) -> str:
        """The server's address without the path."""
        parts = urlsplit(self.base_url)
        return urlunsplit((parts.scheme, parts.netloc, "", "", ""))

    def url(self, path: str) -> str:
        """Return the whole URL of a path, without credentials, for messages."""
        return without_credentials(path if "://" in path else f"{self.base_url}/{path}")

    # --- threads -------------------------------------------------------------------------------------------------

    def run(self, flows: Iterable[Flow[T]]) -> Iterator[T]:
        """Run flows in the pool and yield what they return, in order; the first error ends the others."""
        threads = self._own_threads()
        ahead: deque[Future[T]] = deque()
        try:
            for flow in flows:
                ahead.append(threads.pool.submit(self._drive, threads.client, flow))
                # A short lead keeps the pool busy and memory flat in the number of flows.
                if len(ahead) >= 2 * self._max_concurrency:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()

    def _drive(self, client: openai.OpenAI, flow: Flow[T]) -> T:
        try:
            request = next(flow)
            while True:
                try:
                    reply = self._send(client, request)
                except ServerError as error:
                    request = flow.throw(error)
                else:
                    request = flow.send(reply)
        except StopIteration as done:
            return cast("T", done.value)

    def _send(self, client: openai.OpenAI, request: Request) -> bytes:
        try:
            if request.body is None:
                reply = client.get(request.path, cast_to=_RAW, options=self._options(request))
            else:
                reply = client.post(request.path, cast_to=_RAW, body=request.body, options=self._options(request))
        except openai.APIError as error:
            raise failures.from_sdk(error, self.url(request.path), self._secrets) from error
        return cast("bytes", reply)

    def _own_threads(self) -> _Threads:
        with self._lock:
            # A forked child inherits the object but neither its threads nor its sockets.
            if self._threads is None or self._threads.pid != os.getpid():
                hooks = {"response": [failures.judge]}
                self._threads = _Threads(
                    openai.OpenAI(**self._settings, http_client=openai.DefaultHttpxClient(event_hooks=hooks)),
                    ThreadPoolExecutor(self._max_concurrency, thread_name_prefix="qwen-embed"),
                    os.getpid(),
                )
                # A forgotten close() must leave no socket behind.
                weakref.finalize(self, _end, self._threads)
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

    async def _asend(self, client: openai.AsyncOpenAI, request: Request) -> bytes:
        try:
            if request.body is None:
                reply = await client.get(request.path, cast_to=_RAW, options=self._options(request))
            else:
                reply = await client.post(request.path, cast_to=_RAW, body=request.body, options=self._options(request))
        except openai.APIError as error:
            raise failures.from_sdk(error, self.url(request.path), self._secrets) from error
        return cast("bytes", reply)

    async def _own_loop(self) -> _Loop:
        running = asyncio.get_running_loop()
        with self._lock:
            known = self._loops.get(running)
            if known is None:
                hooks = {"response": [failures.ajudge]}
                client = openai.AsyncOpenAI(
                    **self._settings, http_client=openai.DefaultAsyncHttpxClient(event_hooks=hooks)
                )
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

    def _options(self, request: Request) -> Any:
        return {"max_retries": 0, "timeout": self._optional_timeout} if request.optional else {}

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the threads' client and pool; event loops close theirs when they end."""
        with self._lock:
            threads, self._threads = self._threads, None
        if threads is not None:
            _end(threads)

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


def _end(threads: _Threads) -> None:
    if threads.pid == os.getpid():
        threads.pool.shutdown(wait=False, cancel_futures=True)
        threads.client.close()


@dataclass(frozen=True)
class _Loop:
    client: openai.AsyncOpenAI
    slots: asyncio.Semaphore
    lifeline: AsyncGenerator[None, None]


def normalize_base_url(base_url: str) -> str:
    """Return an address that ends where endpoints begin.

    Args:
        base_url: An http(s) address; `/v1` is added where there is no path.

    Raises:
        InvalidInputError: If it is no such address, or already names an endpoint.
    """
    parts = urlsplit(base_url.strip()) if isinstance(base_url, str) else urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidInputError(
            f"`base_url` is {base_url!r}; it must look like http://localhost:30000/v1.", parameter="base_url"
        )
    path = parts.path.rstrip("/")
    for endpoint in ("/embeddings", "/rerank"):
        if path.endswith(endpoint):
            raise InvalidInputError(
                f"`base_url` ends in {endpoint}; leave that out, it is added for each request.", parameter="base_url"
            )
    return urlunsplit(parts._replace(path=path or "/v1", query="", fragment=""))


def without_credentials(url: str) -> str:
    """Return a URL without the user name and password it may carry."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
