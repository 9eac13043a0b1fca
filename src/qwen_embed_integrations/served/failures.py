"""What went wrong on the wire: which replies to try again, and which error each becomes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import openai

from qwen_embed_integrations.errors import (
    EndpointNotFoundError,
    RequestRefusedError,
    ServerAuthenticationError,
    ServerBusyError,
    ServerConnectionError,
    ServerError,
    WrongServerError,
)
from qwen_embed_integrations.served.address import SHORTEST_SECRET
from qwen_embed_integrations.served.replies import CUT

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN = 500

# SGLang 0.5.23 answers a full queue on its reranker path with 400 and this message.
_BUSY_AS_400 = re.compile(r"^50[34]: ")
# llama.cpp's answer where it was not started for the task.
_NOT_FOR_THIS = 501
# llama.cpp answers 500 for a text that does not fit its physical batch.
_TOO_LONG_AS_500 = re.compile(r"too large to process", re.IGNORECASE)
_TOO_LONG = re.compile(
    r"longer than the model's context|maximum context length|too large to process|maximum input length"
    r"|must have less than|range of input length|exceeds? (the )?(max|context|available context)|(?<!array )too long"
    r"|larger than the max(imum)? context|at most \d+ characters",
    re.IGNORECASE,
)
_TOO_MANY = re.compile(
    # OpenAI adds up the tokens of a request, and says "array too long" of more than 2048 texts.
    r"batch size|at most \d+ (items|texts|inputs)|too many (inputs|texts|items)|array too long|tokens per request",
    re.IGNORECASE,
)
_MOST_TEXTS = re.compile(
    r"maximum allowed batch size (\d+)|should not be larger than (\d+)|at most (\d+) (?:items|texts|inputs)"
    r"|array with maximum length (\d+)",
    re.IGNORECASE,
)
# SGLang and vLLM print FastAPI's list of errors, each with the text it is about.
_PRINTED = re.compile(r"\d+ validation errors?:|\[\{'type'")
_PRINTED_MSG = re.compile(r"""'msg': ['"](.*?)['"](?=, '|\})""")
# What a request carries where no key was given; keyless servers ignore it.
NO_KEY = "EMPTY"


def message_of(body: str) -> str:
    """Return the message in an error body, whichever shape it has, without the texts that it echoes."""
    return _whole_message(body)[:_SHOWN]


def _whole_message(body: str) -> str:
    try:
        parsed = json.loads(body)
        messages = _messages_in(parsed) or ([json.dumps(parsed, ensure_ascii=False)] if parsed != "" else [])
    except (ValueError, RecursionError):
        return " ".join(body.split())
    return "; ".join(dict.fromkeys(messages))


def _messages_in(parsed: Any) -> list[str]:
    if isinstance(parsed, str):
        return _PRINTED_MSG.findall(parsed) if _PRINTED.match(parsed) else [parsed] if parsed else []
    if isinstance(parsed, dict):
        # `input`, beside a `msg` of FastAPI's, is what was sent.
        parsed = [parsed.get(key) for key in ("error", "message", "msg", "detail")]
    return [message for part in parsed for message in _messages_in(part)] if isinstance(parsed, list) else []


def mark_retry(response: Any) -> None:
    """Tell the SDK's retry layer about replies whose status does not mean what it says.

    Args:
        response: The HTTP response; error bodies are read here, and whether to retry is left in the header that the
            SDK honours.
    """
    if response.is_error:
        response.read()
        _set_retry_header(response)


async def amark_retry(response: Any) -> None:
    """Tell the SDK's retry layer about replies whose status does not mean what it says; see `mark_retry`."""
    if response.is_error:
        await response.aread()
        _set_retry_header(response)


def _set_retry_header(response: Any) -> None:
    message = message_of(response.text)
    status = response.status_code
    if status == 400 and _BUSY_AS_400.match(message):  # noqa: PLR2004 an HTTP status
        response.headers["x-should-retry"] = "true"
    elif (
        status == _NOT_FOR_THIS
        or (status >= 500 and _TOO_LONG_AS_500.search(message))  # noqa: PLR2004 an HTTP status
        or "insufficient_quota" in response.text
    ):
        response.headers["x-should-retry"] = "false"


def from_sdk(error: openai.APIError, url: str, secrets: Sequence[str]) -> ServerError:
    """Return our error for the SDK's, after its retries.

    Args:
        error: What the SDK raised.
        url: The URL that was called, without credentials.
        secrets: Keys and header values, taken out of everything the server echoed.
    """
    if isinstance(error, openai.APITimeoutError):
        return ServerConnectionError(
            f"{url} did not answer in time. Raise `timeout`, or lower `batch_size` or `max_concurrency`.", url=url
        )
    if not isinstance(error, openai.APIStatusError):
        cause = error.__cause__ or error
        if is_out_of_threads(cause):
            return out_of_threads(cause, url)
        reason = str(cause).rstrip(".") or type(cause).__name__
        return ServerConnectionError(
            f"{url} cannot be reached: {reason}. Is the server running, and is `base_url` right?", url=url
        )
    translated = from_status(
        error.status_code,
        error.response.text,
        url,
        error.response.headers.get("location"),
        keyless=error.request.headers.get("authorization") == f"Bearer {NO_KEY}",
        secrets=secrets,
    )
    hide(translated, secrets)
    return translated


def is_out_of_threads(error: BaseException) -> bool:
    """Tell whether the system refused a thread; Python says so in an error that has no type of its own."""
    return isinstance(error, RuntimeError) and "new thread" in str(error)


def out_of_threads(error: BaseException, url: str) -> ServerConnectionError:
    """Return the error for a request that was not sent since no thread could be started.

    Args:
        error: What Python raised.
        url: Where the request would have gone.
    """
    return ServerConnectionError(
        f"No thread could be started to send requests to {url} ({error}): this process, or its user, runs as many "
        "as it may. Lower `max_concurrency`, run fewer threads elsewhere in the program, or raise the limit "
        "(`ulimit -u`, or a container's limit on processes).",
        url=url,
    )


def hide(error: ServerError, secrets: Sequence[str]) -> None:
    """Blank secrets out of what an error shows; servers echo headers.

    Args:
        error: The error, changed in place.
        secrets: Keys and header values.
    """
    error.args = tuple(_blank(arg, secrets) if isinstance(arg, str) else arg for arg in error.args)
    error.body = _blank(error.body, secrets)


def _blank(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
        for length in range(len(secret) - 1, SHORTEST_SECRET - 1, -1):
            text = text.replace(secret[:length] + CUT, "***" + CUT)
    return text


def _most_texts(message: str) -> int | None:
    match = _MOST_TEXTS.search(message)
    return int(next(filter(None, match.groups()))) if match else None


def from_status(
    status: int, body: str, url: str, location: str | None = None, *, keyless: bool = False, secrets: Sequence[str] = ()
) -> ServerError:
    """Return the error that a status and a body stand for.

    Args:
        status: HTTP status.
        body: The reply's body.
        url: The URL that was called, without credentials.
        location: Where a redirect points.
        keyless: Whether the request carried no key.
        secrets: Keys and header values, blanked out before what is shown is cut: half a key is one too.
    """
    message = _whole_message(body)
    shown = _blank(message, secrets)[:_SHOWN]
    answered = f"{url} answered {status}: {shown}" if shown else f"{url} answered {status}"
    kind: type[ServerError] = RequestRefusedError
    advice = ""
    if location:
        kind = EndpointNotFoundError
        advice = f"It redirects to {location}, which is not followed: point `base_url` there if that is the server."
    elif status in {401, 403}:
        kind = ServerAuthenticationError
        # 403 also stands for a key's rights, and comes from proxies.
        without_key = keyless and status == 401  # noqa: PLR2004 an HTTP status
        advice = "No `api_key` was given, and the server wants one." if without_key else "Check `api_key`."
    elif status in {404, 405}:
        kind = EndpointNotFoundError
        advice = (
            "Is `base_url` right (it usually ends in /v1), is `model` a name the server knows, and does the server "
            "offer this endpoint?"
        )
    elif "does not appear to be an embedding model" in message:
        kind = WrongServerError
        advice = (
            "Of Qwen3-Reranker that is not true: SGLang serves it with its chat template, and without --is-embedding."
            if url.endswith("/rerank")  # where the server's own advice leads astray
            else "This SGLang server was started as a text generator or a reranker. Point `base_url` at an embedding "
            "server, or restart it with --is-embedding."
        )
    elif "not in generation mode" in message:
        kind = WrongServerError
        advice = "Qwen3-Reranker must be served by SGLang without --is-embedding."
    elif status in {424, _NOT_FOR_THIS}:  # 424 is TEI's answer to a wrong kind of model
        kind, advice = WrongServerError, "The server's model is of another kind, or it was not started for this."
    elif _is_busy(status, message):
        kind, advice = ServerBusyError, "Lower `max_concurrency`, raise `max_retries`, or look at the server's log."
    error = kind(
        " ".join(filter(None, (f"{answered.rstrip('.')}.", advice))),
        url=url,
        status=status,
        body=_blank(body, secrets)[:_SHOWN],
    )
    if isinstance(error, RequestRefusedError):
        error.too_long = bool(_TOO_LONG.search(message))
        # llama.cpp speaks of its "physical batch size" when one text is too long.
        error.too_many = status == 413 or bool(_TOO_MANY.search(_TOO_LONG_AS_500.split(message)[0]))  # noqa: PLR2004
        error.most_texts = _most_texts(message) if error.too_many else None
    return error


def _is_busy(status: int, message: str) -> bool:
    if status == 400:  # noqa: PLR2004 an HTTP status
        return bool(_BUSY_AS_400.match(message))
    return status in {408, 409, 429} or (status >= 500 and not _TOO_LONG_AS_500.search(message))  # noqa: PLR2004
