"""What the requests to a server have cost so far, counted from any thread."""

from __future__ import annotations

import threading

from qwen_embed_integrations.engine import Usage


class UsageCounter:
    """Adds up tokens and requests."""

    def __init__(self) -> None:
        self._total = Usage()
        self._lock = threading.Lock()

    @property
    def total(self) -> Usage:
        """Tokens and requests so far."""
        return self._total

    def add_request(self, tokens: int) -> None:
        """Count one answered request."""
        with self._lock:
            self._total += Usage(tokens, 1)
