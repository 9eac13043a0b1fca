"""Jobs for workers in tests."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_embed_integrations.local.scheduler.worker import Worker
    from qwen_embed_integrations.local.sequences import Tokens


def wait_until_tokenized(worker: Worker) -> None:
    """Wait until what was handed in before is tokenized and on its way to the computing thread."""
    reached = threading.Event()

    def refuse(_: Sequence[str]) -> Tokens:
        reached.set()
        raise LookupError

    # More characters than one piece, so this is tokenized by itself, after all shorter jobs.
    worker.submit(refuse, ["x" * 200_000])
    assert reached.wait(timeout=20)


def end_threads(worker: Worker) -> None:
    """End a worker's threads without closing it, as a fork does for the child."""
    assert worker._inbox is not None
    worker._inbox.put(None)
    for thread in worker._threads:
        thread.join(timeout=20)
        assert not thread.is_alive()
