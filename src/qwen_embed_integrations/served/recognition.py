"""What is known of a server by now: stated, read off its address, or asked with the first use."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Literal

from qwen_embed_integrations.errors import (
    InvalidInputError,
    ServerBusyError,
    ServerConnectionError,
    WrongServerError,
)
from qwen_embed_integrations.served.address import root_of
from qwen_embed_integrations.served.dialects import DIALECTS, by_host, check_dialect
from qwen_embed_integrations.served.probe import probe
from qwen_embed_integrations.server_info import ServerInfo

if TYPE_CHECKING:
    from qwen_embed_integrations.served.dialects.base import Dialect, Embeds, Reranks
    from qwen_embed_integrations.served.flow import Flow
    from qwen_embed_integrations.server_info import DialectName, Task

# Seconds before a server that could not say what it is gets asked again.
_ASK_AGAIN = 30.0


class Recognition:
    """One server, and how it is spoken to."""

    def __init__(
        self, base_url: str, *, task: Task, model: str, dialect: Literal["auto", DialectName] | ServerInfo
    ) -> None:
        check_dialect(dialect)
        self._base_url = base_url
        self._task: Task = task
        self._model = model
        self._named: Dialect | None = None
        self._known: ServerInfo | None = None
        self._asking = False
        self._ask_at = 0.0
        self._lock = threading.Lock()
        if isinstance(dialect, ServerInfo):
            self._known = dialect
        else:
            hosted = by_host(base_url)
            if dialect != "auto":
                self._named = DIALECTS[dialect]
            if hosted is not None and dialect in {"auto", hosted.kind}:
                self._known = hosted
        if self.dialect.form_for(task) is None:
            parameter = "base_url" if dialect == "auto" else "dialect"
            raise InvalidInputError(f"`{parameter}` names {self._lack(self.dialect)}", parameter=parameter)
        if self._known is not None:
            self._known.require(task, base_url, self.dialect.advice.get(task, ""))

    @property
    def is_known(self) -> bool:
        """Whether it was stated or has said what it is."""
        return self._known is not None

    @property
    def info(self) -> ServerInfo:
        """What is known so far."""
        return self._known or ServerInfo(kind=self.dialect.name)

    @property
    def dialect(self) -> Dialect:
        """How the server is spoken to, as far as that is known."""
        return DIALECTS[self._known.kind] if self._known else self._named or DIALECTS["unknown"]

    @property
    def form(self) -> Embeds | Reranks:
        """How it is asked to do the task."""
        form = self.dialect.form_for(self._task)
        assert form is not None, "a dialect without one is refused"  # noqa: S101 for the type checker
        return form

    @property
    def max_batch(self) -> int | None:
        """Most texts it takes in a request, as far as that is known."""
        limits = [limit for limit in (self.info.max_batch, self.form.max_batch) if limit is not None]
        return min(limits, default=None)

    def ask(self, *, needed: bool) -> Flow[ServerInfo]:
        """Find out what the server is, and that it is for the task.

        Args:
            needed: Whether the answer is worth waiting for. Where it is not, one caller asks for all.

        Returns:
            What is known; of kind `unknown`, or what it was named, where the server does not say.

        Raises:
            WrongServerError: If it is for something else.
            ServerBusyError: If it was not named, is needed, and too busy to answer.
            ServerConnectionError: If it was not named, is needed, and does not answer.
        """
        with self._lock:
            if self._known is not None or (not needed and (self._asking or time.monotonic() < self._ask_at)):
                return self.info
            self._asking = True
        try:
            found = yield from self._ask(needed=needed)
        finally:
            self._asking = False
        if found is None:
            # Not an answer to remember: the server may be one that answers the wrong question with nonsense.
            self._ask_at = time.monotonic() + _ASK_AGAIN
            return self.info
        dialect = DIALECTS[found.kind]
        found.require(self._task, self._base_url, dialect.advice.get(self._task, ""))
        if dialect.form_for(self._task) is None:
            raise WrongServerError(f"{self._base_url} is {self._lack(dialect)}", url=self._base_url)
        self._known = found
        return found

    def _ask(self, *, needed: bool) -> Flow[ServerInfo | None]:
        root_url = root_of(self._base_url)
        try:
            return (yield from probe(root_url, model=self._model, named=self._named))
        except ServerConnectionError:
            if not needed or self._named is not None:
                return None
        except ServerBusyError:
            if not needed:
                return None
        try:
            # It will say, with the patience that any request gets.
            return (yield from probe(root_url, model=self._model, named=self._named, optional=False))
        except (ServerBusyError, ServerConnectionError):
            if self._named is None:
                raise
            return None

    def _lack(self, dialect: Dialect) -> str:
        advice = dialect.advice.get(self._task, "Point `base_url` at a server that can.")
        return f"{dialect.title}, which does not {self._task} in a way that is spoken here. {advice}"
