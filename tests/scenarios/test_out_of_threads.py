"""A process that may start no more threads says so, loses nothing, and works again when it may."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import loopback

# A limit on threads does not bind root, but one on memory does: a thread whose stack does not fit is refused alike.
PROGRAM = """
    import asyncio, resource, threading
    from qwen_embed_integrations import Embedder
    from qwen_embed_integrations.errors import ServerConnectionError

    loop = asyncio.new_event_loop()  # asyncio.run() needs a thread to end
    embedder = Embedder.served("Qwen/Qwen3-Embedding-0.6B", base_url={base_url!r}, max_retries=0)

    def embed(texts):
        if {looped}:
            return loop.run_until_complete(embedder.aembed_documents(texts))
        return embedder.embed_documents(texts)

    with open("/proc/self/statm") as sizes:
        used = int(sizes.read().split()[0]) * resource.getpagesize()
    unlimited = resource.getrlimit(resource.RLIMIT_AS)
    small = threading.stack_size(1 << 31)
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), unlimited[1]))
    try:
        print(embed(["a"]).shape)
    except ServerConnectionError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_AS, unlimited)
    threading.stack_size(small)
    print(embed(["b"]).shape)
    loop.run_until_complete(embedder.aclose())
    loop.close()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
@pytest.mark.parametrize("looped", [False, True])
def test_running_out_of_threads_is_told_from_a_closed_connection(server: loopback.Server, *, looped: bool) -> None:
    # An event loop needs a thread to look up the name of a host.
    base_url = server.base_url.replace("127.0.0.1", "localhost")
    program = textwrap.dedent(PROGRAM).format(base_url=base_url, looped=looped)
    ended = subprocess.run(  # noqa: S603 our own program
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    first, second = ended.stdout.splitlines()
    assert first.startswith("No thread could be started to send requests to http://localhost:")
    assert "(can't start new thread)" in first
    assert "Lower `max_concurrency`" in first
    assert second == "(1, 1024)"
