"""A server that answers embedding requests at once with replies made beforehand, so that the client is what is timed.

Run by `served_throughput.py` in a process of its own; prints its port.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import sys

import numpy as np

# Stands once in every text, so that the server counts texts without parsing JSON.
MARK = "¶".encode()
DIMENSIONS = 1024


@functools.cache
def rows(count: int) -> np.ndarray:
    """Return the vectors every request of so many texts is answered with, shape `(count, DIMENSIONS)`."""
    made = np.random.default_rng(0).standard_normal((count, DIMENSIONS), np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made


@functools.cache
def reply(count: int, encoding_format: str) -> bytes:
    """Return a whole HTTP reply, head included, as SGLang writes it."""
    data = [
        {
            "object": "embedding",
            "embedding": base64.b64encode(row.tobytes()).decode() if encoding_format == "base64" else row.tolist(),
            "index": index,
        }
        for index, row in enumerate(rows(count))
    ]
    usage = {"prompt_tokens": 100 * count, "total_tokens": 100 * count, "completion_tokens": 0}
    body = json.dumps(
        {"object": "list", "model": "canned", "data": data, "usage": usage}, separators=(",", ":")
    ).encode()
    return _head(b"200 OK", len(body)) + body


def _head(status: bytes, length: int) -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, length)


class Canned(asyncio.Protocol):
    """One connection; a request is complete when its announced bytes are there."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where replies go."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._received[:end]).lower()
            _, _, after = head.partition(b"content-length:")
            whole = end + 4 + int(after.split(b"\r\n", 1)[0] or 0) if after else end + 4
            if len(self._received) < whole:
                return
            request, self._received = bytes(self._received[:whole]), self._received[whole:]
            asyncio.get_running_loop().call_later(self._latency, self._transport.write, self._answer(request))

    def _answer(self, request: bytes) -> bytes:
        if not request.startswith(b"POST"):
            return _head(b"404 Not Found", 2) + b"{}"
        return reply(request.count(MARK), "base64" if b'"base64"' in request[-200:] + request[:2000] else "float")


async def serve(latency: float) -> None:
    """Serve on a free port of loopback until killed."""
    server = await asyncio.get_running_loop().create_server(lambda: Canned(latency), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))
