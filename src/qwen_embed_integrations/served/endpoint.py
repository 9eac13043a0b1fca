"""One path of a server: what is sent there, and how its reply becomes numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwen_embed_integrations.served.address import whole_url
from qwen_embed_integrations.served.flow import Request
from qwen_embed_integrations.served.replies import parse_json, tokens_used

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from qwen_embed_integrations.served.usage import UsageCounter
    from qwen_embed_integrations.vectors import Floats


@dataclass(frozen=True)
class Endpoint:
    """Where texts are sent, and how.

    Attributes:
        base_url: Address of the server, up to and including `/v1`.
        path: Relative to it, or an absolute URL.
        parameter: What the texts are called, for messages.
        body: Makes the body of a request for these texts.
        read: Checks a parsed reply to so many texts, that came from this URL, and returns their values in order.
        usage: Counts the replies.
    """

    base_url: str
    path: str
    parameter: str
    body: Callable[[Sequence[str]], Mapping[str, Any]]
    read: Callable[[Any, int, str], Floats]
    usage: UsageCounter

    @property
    def url(self) -> str:
        """The whole URL, for messages."""
        return whole_url(self.base_url, self.path)

    def request(self, texts: Sequence[str]) -> Request:
        """Return the request for these texts."""
        return Request(self.path, self.body(texts))

    def values(self, reply: bytes, count: int) -> Floats:
        """Return the values in a reply, one for each text, in order; not yet checked for NaN.

        Args:
            reply: The body of the reply.
            count: How many texts were sent.

        Raises:
            BadReplyError: If the reply is not what was asked for.
        """
        parsed = parse_json(reply, self.url)
        self.usage.add_request(tokens_used(parsed))
        return self.read(parsed, count, self.url)
