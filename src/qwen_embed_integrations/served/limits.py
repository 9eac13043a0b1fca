"""What a server takes in one request, as far as that is known by now."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qwen_embed_integrations.options import LongText, ServedOptions
    from qwen_embed_integrations.served.recognition import Recognition


class Limits:
    """The caller's limits, those the server states, and those that its refusals taught. Shared by all threads.

    Attributes:
        long_text: What becomes of a text that is too long.
    """

    def __init__(self, options: ServedOptions, recognition: Recognition) -> None:
        self.long_text: LongText = options.long_text
        self._batch_size = options.batch_size
        self._learned: int | None = None
        self._recognition = recognition
        self._lock = threading.Lock()

    @property
    def max_batch(self) -> int | None:
        """Most texts the server takes in a request; None where no limit is known."""
        limits = [limit for limit in (self._learned, self._recognition.max_batch) if limit is not None]
        return min(limits, default=None)

    @property
    def batch_size(self) -> int:
        """Texts to put into the next request, at most."""
        return min(self._batch_size, self.max_batch or self._batch_size)

    @property
    def max_tokens(self) -> int | None:
        """Longest text that the model reads, where the server said so."""
        return self._recognition.info.max_tokens

    def lower_max_batch(self, count: int) -> None:
        """Remember that the server takes no more than so many texts in a request."""
        with self._lock:
            self._learned = min(self._learned or count, count)
