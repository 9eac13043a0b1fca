"""Questions to a server about itself, each asked once, whoever wants to know."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qwen_embed_integrations.errors import ServerBusyError, ServerConnectionError, ServerError
from qwen_embed_integrations.served.failures import message_of
from qwen_embed_integrations.served.flow import Request
from qwen_embed_integrations.served.replies import parse_json

if TYPE_CHECKING:
    from qwen_embed_integrations.served.flow import Flow

_NOT_FOUND, _METHOD_NOT_ALLOWED = 404, 405


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for while it speaks of itself.

    Attributes:
        optional: Whether each question is sent once and briefly; if not, it is tried again like any request.
        deadline: When no question is asked any more, on the clock of `time.monotonic`; None for never.
        hints: Whether what can be done without is asked too.
    """

    optional: bool = True
    deadline: float | None = None
    hints: bool = True


class Questions:
    """What a server has said about itself so far.

    Attributes:
        model: The name the caller knows the model by; None for whatever the server runs.
        patience: How long it is waited for; may be changed between attempts, while the answers are kept.
        skipped: Whether something was not asked, since it can be done without.
    """

    def __init__(self, root_url: str, *, model: str | None = None) -> None:
        self.model = model
        self.patience = Patience()
        self._root_url = root_url
        self.skipped = False
        self._answers: dict[str, Any] = {}
        self._routes: dict[str, bool | None] = {}

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Flow[dict[str, Any]]:
        """Ask for a JSON object.

        Args:
            path: From the server's root.
            body: What to post; None makes it a GET.

        Returns:
            The object; empty where the server does not know the question or answers with something else.

        Raises:
            ServerError: If the server is busy or cannot be reached, which says nothing about what it is.
        """
        if path not in self._answers:
            self._answers[path] = yield from self._ask(self._request(path, body))
        answer: dict[str, Any] = self._answers[path]
        return answer

    def hint(self, path: str, body: dict[str, Any] | None = None) -> Flow[dict[str, Any]]:
        """Ask, once and briefly, what can be done without; empty whatever goes wrong. See `ask`."""
        if path not in self._answers and not self.patience.hints:
            self.skipped = True
        elif path not in self._answers:
            try:
                self._answers[path] = yield from self._ask(self._request(path, body, optional=True))
            except ServerError:
                self._answers[path] = {}
        answer: dict[str, Any] = self._answers.get(path, {})
        return answer

    def forget_empty(self) -> None:
        """Have what was not answered asked again."""
        self._answers = {path: answer for path, answer in self._answers.items() if answer}
        self._routes.clear()

    def exists(self, path: str) -> Flow[bool | None]:
        """Tell whether there is a POST route: a GET is 405 on one, and 404 where there is none; None for all else."""
        if path not in self._routes:
            self._routes[path] = yield from self._exists(path)
        return self._routes[path]

    def _exists(self, path: str) -> Flow[bool | None]:
        try:
            yield self._request(path, None, optional=True)
        except (ServerBusyError, ServerConnectionError):
            raise
        except ServerError as error:
            if error.status == _METHOD_NOT_ALLOWED or "not allowed" in message_of(error.body).lower():
                return True
            return False if error.status == _NOT_FOUND else None
        return None

    def models(self, path: str = "/v1/models") -> Flow[list[dict[str, Any]]]:
        """Return the entries in the list of models; empty where there is no list."""
        entries = (yield from self.ask(path)).get("data")
        return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []

    def listed(self, path: str = "/v1/models") -> Flow[dict[str, Any]]:
        """Return the model's entry in the list of models, or the first one; empty where there is no list."""
        models = yield from self.models(path)
        named = (entry for entry in models if entry.get("id") == self.model)
        return next(named, models[0] if models else {})

    def owner(self, path: str = "/v1/models") -> Flow[str | None]:
        """Return whom the list of models names as their owner, by which most servers can be told apart."""
        owner = (yield from self.listed(path)).get("owned_by")
        return owner if isinstance(owner, str) else None

    def _ask(self, request: Request) -> Flow[dict[str, Any]]:
        try:
            answer = parse_json((yield request), request.path)
        except (ServerBusyError, ServerConnectionError):
            raise
        except ServerError:
            return {}
        return answer if isinstance(answer, dict) else {}

    def _request(self, path: str, body: dict[str, Any] | None, *, optional: bool | None = None) -> Request:
        url, timeout = self._root_url + path, None
        if self.patience.deadline is not None:
            timeout = self.patience.deadline - time.monotonic()
            if timeout <= 0:
                raise ServerConnectionError(
                    f"{self._root_url} took too long to say what it is. Raise `timeout`, or name the server with "
                    "`dialect`.",
                    url=url,
                )
        return Request(url, body, self.patience.optional if optional is None else optional, timeout)
