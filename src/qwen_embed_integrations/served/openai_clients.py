"""The SDK's clients, made so that they retry what should be retried and say only what they were told to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import openai

from qwen_embed_integrations.served import failures
from qwen_embed_integrations.served.address import check_headers, secrets_in

if TYPE_CHECKING:
    from qwen_embed_integrations.options import ServedOptions

Client = TypeVar("Client", openai.OpenAI, openai.AsyncOpenAI)


class Clients:
    """Makes clients of one server.

    Attributes:
        secrets: What must never show in a message.
    """

    def __init__(self, base_url: str, options: ServedOptions) -> None:
        headers = check_headers(options.api_key, options.default_headers)
        self.secrets = secrets_in(options.api_key, headers)
        self._settings: dict[str, Any] = {
            "base_url": base_url,
            # Keyless servers ignore it; without one the SDK would look for the caller's OpenAI key.
            "api_key": options.api_key or failures.NO_KEY,
            "timeout": options.timeout,
            "max_retries": options.max_retries,
            "default_headers": headers,
        }

    def for_threads(self) -> openai.OpenAI:
        """Return a client for threads."""
        # A redirect would carry texts and headers to whomever it names.
        hooks = {"response": [failures.mark_retry]}
        http_client = openai.DefaultHttpxClient(event_hooks=hooks, follow_redirects=False)
        return self._without_environment(openai.OpenAI(**self._settings, http_client=http_client))

    def for_loop(self) -> openai.AsyncOpenAI:
        """Return a client for one event loop."""
        hooks = {"response": [failures.amark_retry]}
        http_client = openai.DefaultAsyncHttpxClient(event_hooks=hooks, follow_redirects=False)
        return self._without_environment(openai.AsyncOpenAI(**self._settings, http_client=http_client))

    def _without_environment(self, client: Client) -> Client:
        # The SDK adds what OPENAI_ORG_ID, OPENAI_PROJECT_ID and OPENAI_CUSTOM_HEADERS hold. That is meant for OpenAI,
        # and this server may be anybody's.
        client.organization = client.project = None
        client._custom_headers = self._settings["default_headers"]  # noqa: SLF001 there is no public way
        return client
