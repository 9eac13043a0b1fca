"""Ctrl-C in the middle of a call to a server ends the program, however long the server takes."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING

import pytest

import loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = """
    import asyncio, signal
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests themselves run in the background
    from qwen_embed_integrations import Embedder, Reranker
    settings = {{"base_url": {base_url!r}, "timeout": 600}}
    texts = ["text %d" % number for number in range(100)]
    embedder = Embedder.served("Qwen/Qwen3-Embedding-0.6B", batch_size=1, **settings)
    try:
        {call}
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""
CALLS = {
    "embed": "embedder.embed_documents(texts)",
    "aembed": "asyncio.run(embedder.aembed_documents(texts))",
    "rerank": "Reranker.served('Qwen/Qwen3-Reranker-0.6B', **settings).rerank('text', texts)",
}


@pytest.fixture
def silent_server() -> Iterator[loopback.Server]:
    """A server that keeps every request until the test is over."""
    released = threading.Event()
    running = loopback.Server(loopback.sglang_embedding)
    running.reply(lambda _: released.wait(600) and None)
    yield running
    released.set()
    running.close()


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_ctrl_c_ends_a_program_that_waits_for_a_reply(silent_server: loopback.Server, call: str) -> None:
    program = textwrap.dedent(PROGRAM).format(base_url=silent_server.base_url, call=call)
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)  # noqa: S603 our own program
    try:
        assert loopback.soon(lambda: len(silent_server.requests) > 0, within=60)
        # Pressed until it ends: Python drops an exception that falls into a destructor.
        for _ in range(30):
            child.send_signal(signal.SIGINT)
            try:
                output, _ = child.communicate(timeout=2)
                break
            except subprocess.TimeoutExpired:
                continue
        else:
            pytest.fail("it went on for a minute")
        assert output in {"interrupted\n", ""}  # nothing, where a second press came before the first one's words
    finally:
        child.kill()
        child.wait()
