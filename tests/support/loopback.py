"""A real HTTP server on loopback that speaks SGLang, and whatever else a test makes it say."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 1024


@dataclass
class Request:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


Answer = tuple[int, Any, dict[str, str]]


@dataclass(frozen=True)
class Cut:
    """A body that breaks off: the connection is closed after some of the bytes that were announced.

    With nothing announced, the connection is closed without a word.
    """

    sent: bytes = b""
    announced: int = 0


def vector(text: str, size: int = SIZE) -> np.ndarray:
    """Return the unit vector this server gives to a text."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
    row = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    return row / np.linalg.norm(row)


def overlap(query: str, document: str) -> float:
    """Return the share of the query's words that are in the document."""
    wanted, found = (set(re.findall(r"\w+", text.lower())) for text in (query, document))
    return len(wanted & found) / max(len(wanted), 1)


def embeddings_reply(texts: list[str], *, encoding_format: str = "float", size: int = SIZE) -> dict[str, Any]:
    """Return an OpenAI-shaped reply."""
    rows = [vector(text, size) for text in texts]
    return {
        "object": "list",
        "model": "tiny-qwen3",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": base64.b64encode(row.tobytes()).decode() if encoding_format == "base64" else row.tolist(),
            }
            for index, row in enumerate(rows)
        ],
        "usage": {"prompt_tokens": sum(map(len, texts)), "total_tokens": sum(map(len, texts))},
    }


@dataclass
class Server:
    """The server; `reply` swaps what it says, `latency` slows it down."""

    answer: Callable[[Request], Answer]
    latency: float = 0.0
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    _override: Callable[[Request], Answer | None] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: set[socket.socket] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._http = _HTTPServer(("127.0.0.1", self.port), _handler_for(self))
        self.port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def root_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.root_url}/v1"

    def reply(self, override: Callable[[Request], Answer | None] | None) -> None:
        """Answer with this function instead; where it returns None the default answers."""
        self._override = override

    def posted(self, suffix: str = "") -> list[Request]:
        """Return the POST requests whose path ends so."""
        return [request for request in self.requests if request.method == "POST" and request.path.endswith(suffix)]

    def texts(self) -> list[str]:
        """Return all texts sent for embedding, in order of arrival."""
        return [text for request in self.posted("/embeddings") for text in request.body["input"]]

    def handle(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            self.in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            time.sleep(self.latency)
            said = self._override(request) if self._override else None
            return said or self.answer(request)
        finally:
            with self._lock:
                self.in_flight -= 1

    def close(self) -> None:
        """Stop, and close every connection, as a server that ends does."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # a client that went away is no news
            super().handle_error(request, client_address)


def _handler_for(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            with server._lock:
                server.connections += 1
                server._open.add(self.connection)

        def finish(self) -> None:
            with server._lock:
                server._open.discard(self.connection)
            super().finish()

        def _answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            raw = self.rfile.read(length)
            if len(raw) < length:  # the client went away in the middle
                self.close_connection = True
                return
            request = Request(self.command, self.path, dict(self.headers.items()), json.loads(raw) if raw else None)
            status, body, headers = server.handle(request)
            cut = body if isinstance(body, Cut) else None
            data = cut.sent if cut else body if isinstance(body, bytes) else json.dumps(body).encode()
            self.close_connection |= cut is not None
            if cut and not cut.announced:
                return
            try:
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(cut.announced if cut else len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                self.close_connection = True  # the client went away

        do_GET = do_POST = _answer  # noqa: N815 the names the standard library wants

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def soon(condition: Callable[[], bool], within: float = 10.0) -> bool:
    """Tell whether this becomes true in time."""
    deadline = time.monotonic() + within
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def to_embeddings(answer: Callable[[list[str]], Answer | None]) -> Callable[[Request], Answer | None]:
    """Return a `Server.reply` that answers embedding requests, given their texts, and no others."""

    def override(request: Request) -> Answer | None:
        return answer(request.body["input"]) if request.path.endswith("/embeddings") and request.body else None

    return override


def to_rerank(answer: Callable[[dict[str, Any]], Answer | None]) -> Callable[[Request], Answer | None]:
    """Return a `Server.reply` that answers rerank requests, given their body, and no others."""

    def override(request: Request) -> Answer | None:
        return answer(request.body) if request.path.endswith("/rerank") and request.body else None

    return override


def sglang_embedding(request: Request) -> Answer:
    """Answer as SGLang does with an embedding model."""
    if request.path == "/model_info":
        info = {"model_path": "tiny-qwen3", "is_generation": False, "architectures": ["Qwen3ForCausalLM"]}
        return 200, info, {}
    if request.method == "POST" and request.path == "/v1/embeddings":
        given = request.body["input"]
        texts = [given] if isinstance(given, str) else given
        for index, text in enumerate(texts):
            if not isinstance(text, str) or not text.strip():
                message = f"Input at index {index} cannot be empty or whitespace only"
                return 400, _sglang_error(400, message, "BadRequestError"), {}
        return 200, embeddings_reply(texts, encoding_format=request.body.get("encoding_format", "float")), {}
    if request.method == "POST" and request.path == "/v1/rerank":  # SGLang really answers this
        return 200, _bare_list(request.body, lambda _query, document: float(vector(document)[0])), {}
    return 404, {"detail": "Not Found"}, {}


def sglang_reranker(request: Request) -> Answer:
    """Answer as SGLang does with Qwen3-Reranker."""
    if request.path == "/model_info":
        info = {"model_path": "tiny-reranker", "is_generation": True, "architectures": ["Qwen3ForCausalLM"]}
        return 200, info, {}
    if request.method == "POST" and request.path == "/v1/rerank":
        return 200, _bare_list(request.body, overlap), {}
    if request.method == "POST" and request.path == "/v1/embeddings":
        message = (
            "This model does not appear to be an embedding model by default. "
            "Please add `--is-embedding` when launching the server or try another model."
        )
        return 400, _sglang_error(400, message, "BadRequestError"), {}
    return 404, {"detail": "Not Found"}, {}


def _bare_list(body: dict[str, Any], score: Callable[[str, str], float]) -> list[dict[str, Any]]:
    scored = [
        {"score": score(body["query"], document), "document": document, "index": index, "meta_info": None}
        for index, document in enumerate(body["documents"])
    ]
    if not body.get("return_documents", True):
        for row in scored:
            del row["document"]
    return sorted(scored, key=lambda row: -row["score"])[: body.get("top_n")]


def _sglang_error(status: int, message: str, kind: str) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": kind, "param": None, "code": status}
