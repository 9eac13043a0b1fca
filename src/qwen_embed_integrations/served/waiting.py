"""Waiting for a short while for something that may not come; results are waited for by `interrupts.wait`."""

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import Future


def wait(future: Future[Any], timeout: float) -> bool:
    """Wait in the caller's thread.

    Args:
        future: What is waited for.
        timeout: Seconds to wait at most.

    Returns:
        Whether it is done, however it ended.
    """
    return not concurrent.futures.wait([future], timeout).not_done


async def wait_in_loop(future: Future[Any], timeout: float) -> None:
    """Wait in a task; see `wait`. Being cancelled here leaves the future as it is, so long as it runs."""
    waiter = asyncio.wrap_future(future)
    try:
        await asyncio.wait([waiter], timeout=timeout)
    finally:
        waiter.cancel()
