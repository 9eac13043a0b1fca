"""Usage is added up from any thread, and nothing is lost on the way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from qwen_embed_integrations.engine import Usage
from qwen_embed_integrations.served.usage import UsageCounter


def test_requests_of_many_threads_are_all_counted() -> None:
    counter = UsageCounter()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: [counter.add_request(3) for _ in range(200)], range(8)))
    assert counter.total == Usage(tokens=4800, requests=1600)
