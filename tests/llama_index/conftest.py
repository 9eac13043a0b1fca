from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.callbacks import CallbackManager
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers.base import BaseEventHandler
from llama_index.core.instrumentation.events.base import BaseEvent  # noqa: TC002 pydantic reads it at runtime
from pydantic import PrivateAttr

from qwen_embed_integrations.llama_index import LocalEmbedding, ServedEmbedding, ServedRerank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from llama_index.core.callbacks import CBEventType

    import loopback


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QWEN_EMBED_BASE_URL", raising=False)
    monkeypatch.delenv("QWEN_EMBED_API_KEY", raising=False)


@pytest.fixture
def served(server: loopback.Server) -> Iterator[Callable[..., ServedEmbedding]]:
    """Make embeddings on the loopback server."""
    made: list[ServedEmbedding] = []

    def make(**settings: Any) -> ServedEmbedding:
        settings = {"model": "Qwen/Qwen3-Embedding-0.6B", "base_url": server.base_url} | settings
        made.append(ServedEmbedding(**settings))
        return made[-1]

    yield make
    for instance in made:
        instance.close()


@pytest.fixture
def reranking(reranker_server: loopback.Server) -> Iterator[Callable[..., ServedRerank]]:
    """Make rerankers on the loopback server."""
    made: list[ServedRerank] = []

    def make(**settings: Any) -> ServedRerank:
        settings = {"model": "Qwen/Qwen3-Reranker-0.6B", "base_url": reranker_server.base_url} | settings
        made.append(ServedRerank(**settings))
        return made[-1]

    yield make
    for instance in made:
        instance.close()


class Turnstile:
    """Counts who asks, as a LlamaIndex rate limiter; its lock cannot be pickled."""

    def __init__(self) -> None:
        self.passed = 0
        self._lock = threading.Lock()

    def acquire(self, num_tokens: int = 0) -> None:  # noqa: ARG002 the interface
        with self._lock:
            self.passed += 1

    async def async_acquire(self, num_tokens: int = 0) -> None:
        self.acquire(num_tokens)


@pytest.fixture
def turnstile() -> Turnstile:
    """Make a rate limiter that lets everyone through."""
    return Turnstile()


class Events(BaseEventHandler):
    """Keeps every instrumentation event."""

    _seen: list[BaseEvent] = PrivateAttr(default_factory=list)

    def handle(self, event: BaseEvent, **_: Any) -> None:
        self._seen.append(event)

    def of(self, *kinds: type[BaseEvent]) -> list[BaseEvent]:
        return [event for event in self._seen if isinstance(event, kinds)]

    def names(self, *kinds: type[BaseEvent]) -> list[str]:
        return [event.class_name() for event in self.of(*kinds)]


@pytest.fixture
def events() -> Iterator[Events]:
    """Watch LlamaIndex's instrumentation."""
    root = get_dispatcher()
    handlers = list(root.event_handlers)
    watching = Events()
    root.event_handlers = [*handlers, watching]
    yield watching
    root.event_handlers = handlers


class Callbacks(BaseCallbackHandler):
    """Keeps every callback."""

    def __init__(self) -> None:
        super().__init__([], [])
        self.started: list[tuple[CBEventType, str]] = []
        self.ended: list[tuple[CBEventType, str]] = []
        self.payloads: list[dict[str, Any]] = []

    def on_event_start(
        self, event_type: CBEventType, payload: dict[str, Any] | None = None, event_id: str = "", **_: Any
    ) -> str:
        self.started.append((event_type, event_id))
        self.payloads.append(payload or {})
        return event_id

    def on_event_end(
        self, event_type: CBEventType, payload: dict[str, Any] | None = None, event_id: str = "", **_: Any
    ) -> None:
        self.ended.append((event_type, event_id))
        self.payloads.append(payload or {})

    def start_trace(self, trace_id: str | None = None) -> None:
        pass

    def end_trace(self, trace_id: str | None = None, trace_map: dict[str, list[str]] | None = None) -> None:
        pass

    @property
    def manager(self) -> CallbackManager:
        return CallbackManager([self])


@pytest.fixture
def callbacks() -> Callbacks:
    """Watch LlamaIndex's callbacks."""
    return Callbacks()


@pytest.fixture(scope="session")
def local(minilm: Path) -> LocalEmbedding:
    """A real model in this process."""
    return LocalEmbedding(minilm, device="cpu", dtype="float32")
