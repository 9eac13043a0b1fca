"""Questions to a server about itself, each asked once, whoever wants to know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qwen_embed_integrations.errors import ServerBusyError, ServerConnectionError, ServerError
from qwen_embed_integrations.served.failures import message_of
from qwen_embed_integrations.served.flow import Request
from qwen_embed_integrations.served.replies import parse_json

if TYPE_CHECKING:
    from qwen_embed_integrations.served.flow import Flow

_NOT_FOUND, _METHOD_NOT_ALLOWED = 404, 405


class Questions:
    """What a server has said about itself so far.

    Attributes:
        model: The name the caller knows the model by; None for whatever the server runs.
    """

    def __init__(self, root_url: str, *, model: str | None = None, optional: bool = True) -> None:
        self.model = model
        self._root_url = root_url
        self._optional = optional
        self._answers: dict[str, Any] = {}

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
            self._answers[path] = yield from self._ask(path, body, optional=self._optional)
        found: dict[str, Any] = self._answers[path]
        return found

    def hint(self, path: str, body: dict[str, Any] | None = None) -> Flow[dict[str, Any]]:
        """Ask, once and briefly, what can be done without; empty whatever goes wrong. See `ask`."""
        if path not in self._answers:
            try:
                self._answers[path] = yield from self._ask(path, body, optional=True)
            except ServerError:
                self._answers[path] = {}
        found: dict[str, Any] = self._answers[path]
        return found

    def exists(self, path: str) -> Flow[bool | None]:
        """Tell whether there is a POST route: a GET is 405 on one, and 404 where there is none; None for all else."""
        try:
            yield Request(self._root_url + path, optional=True)
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
        return [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []

    def listed(self, path: str = "/v1/models") -> Flow[dict[str, Any]]:
        """Return the model's entry in the list of models, or the first one; empty where there is no list."""
        models = yield from self.models(path)
        mine = (each for each in models if each.get("id") == self.model)
        return next(mine, models[0] if models else {})

    def owner(self, path: str = "/v1/models") -> Flow[str | None]:
        """Return whom the list of models names as their owner, by which most servers can be told apart."""
        owner = (yield from self.listed(path)).get("owned_by")
        return owner if isinstance(owner, str) else None

    def _ask(self, path: str, body: dict[str, Any] | None, *, optional: bool) -> Flow[dict[str, Any]]:
        url = self._root_url + path
        try:
            reply = yield Request(url, body, optional=optional)
            said = parse_json(reply, url)
        except (ServerBusyError, ServerConnectionError):
            raise
        except ServerError:
            return {}
        return said if isinstance(said, dict) else {}
