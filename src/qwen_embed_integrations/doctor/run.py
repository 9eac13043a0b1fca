"""The whole examination: which checks, in which order, and what a check that fails means."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from qwen_embed_integrations import interrupts
from qwen_embed_integrations.doctor.checks import (
    end_token,
    golden_vectors,
    limits,
    load,
    pooling,
    reach,
    reference,
    replies,
    rerank_prompt,
    scores,
)
from qwen_embed_integrations.doctor.checks.task import find_task
from qwen_embed_integrations.doctor.findings import Finding, warning, wrong
from qwen_embed_integrations.doctor.server import ExaminedServer
from qwen_embed_integrations.errors import QwenEmbedError, ServerBusyError, ServerConnectionError, ServerError
from qwen_embed_integrations.options import ServedOptions
from qwen_embed_integrations.served.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qwen_embed_integrations.server_info import Task

_TIMEOUT = 60.0


def examine(
    url: str,
    *,
    model: str | None = None,
    task: Task | None = None,
    api_key: str | None = None,
    compare_with: str | None = None,
    with_load: bool = True,
    dialect: str = "auto",
    timeout: float = _TIMEOUT,
) -> Iterator[Finding]:
    """Examine a running server.

    Args:
        url: Address up to and including `/v1`, or a bare host.
        model: What the model is, where the server's name for it does not tell.
        task: `"embed"` or `"rerank"`; None finds out.
        api_key: Sent as a bearer token.
        compare_with: Folder or hub id of the same checkpoint, to compare with in this process.
        with_load: Whether to measure speed too.
        dialect: What the server is, by the name of its dialect; `"auto"` finds out.
        timeout: Seconds to wait for one reply.

    Yields:
        Findings, as they are made.

    Raises:
        InvalidInputError: If an argument cannot be used.
    """

    def connect(in_flight: int, max_retries: int = 0) -> Connection:
        options = ServedOptions(
            base_url=url, api_key=api_key, max_concurrency=in_flight, timeout=timeout, max_retries=max_retries
        )
        return Connection(options)

    # One error now and then shall not end a check; under load, every one counts.
    with closing(connect(1, max_retries=1)) as connection:
        server = ExaminedServer(connection, model=model or "model")
        reported: set[tuple[str, str]] = set()
        for finding in _guarded(server, partial(reach.recognise, server, model, dialect)):
            reported.add((finding.code, finding.severity))
            yield finding
        does: Task | None = None
        for finding_or_task in _find_task(server, task, reported) if reach.is_alive(server) else ():
            if isinstance(finding_or_task, Finding):
                yield finding_or_task
            else:
                does = finding_or_task
        if does is None:
            return
        checks = _checks(server, does)
        checks.append(partial(limits.check_key, server, has_key=api_key is not None))
        checks.append(
            partial(reference.check_reference, server, does, compare_with)
            if compare_with
            else partial(reference.suggest, server)
        )
        if with_load:
            checks.append(partial(load.check_load, server, does, connect))
        for check in checks:
            interrupts.check()
            for finding in _guarded(server, check):
                yield finding
                if finding.code == "died":
                    return


def _checks(server: ExaminedServer, task: Task) -> list[Callable[[], Iterator[Finding]]]:
    if task == "embed":
        checks = [
            replies.check_shape,
            replies.check_batches,
            replies.check_base64,
            end_token.check_end,
            pooling.check_pooling,
            golden_vectors.check_instruction,
            golden_vectors.check_golden,
            replies.check_code,
            limits.check_dimensions_field,
            limits.check_long_text,
            limits.check_blank,
        ]
    else:
        checks = [
            scores.check_replies,
            rerank_prompt.check_template,
            scores.check_golden,
            scores.check_top_n,
            scores.check_blank,
        ]
    return [*(partial(check, server) for check in checks), partial(limits.check_name, server, task)]


def _find_task(server: ExaminedServer, stated: Task | None, reported: set[tuple[str, str]]) -> Iterator[Finding | Task]:
    try:
        for finding_or_task in find_task(server, stated):
            # A key that is missing once is not missing twice.
            if isinstance(finding_or_task, Finding):
                if (finding_or_task.code, finding_or_task.severity) not in reported:
                    yield finding_or_task
            else:
                yield finding_or_task
    except Exception as error:  # noqa: BLE001 whatever a server sends, the doctor reports
        yield _crashed("find_task", error)


def _guarded(server: ExaminedServer, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Run a check; one that fails is a finding."""
    name = getattr(check, "func", check).__name__
    try:
        yield from check()
    except ServerError as error:
        if isinstance(error, ServerConnectionError) and reach.is_alive(server):
            yield wrong(
                "no-answer",
                f"The server runs, but {name} got no whole answer: {error}",
                cause="The server or a proxy breaks replies off, or takes longer than --timeout.",
                mend="Ask the server itself, without a proxy; where it is slow, raise --timeout.",
                check=name,
            )
        elif isinstance(error, ServerConnectionError):
            yield wrong(
                "died",
                f"The server stopped answering in {name}: {error}",
                cause="It crashed, was stopped, or hangs on a request.",
                mend="Look at the end of its log, and start it again.",
                check=name,
            )
        elif isinstance(error, ServerBusyError):
            yield warning(
                "busy",
                f"{name} was not finished: {error}",
                cause="The server is busy with others, or its queue is short.",
                mend="Try again when it is idle, or raise the bound of its queue.",
                check=name,
            )
        else:
            yield reach.unanswered(error)
    except QwenEmbedError as error:
        yield warning("check-failed", f"{name} could not be finished: {error}", check=name)
    except Exception as error:  # noqa: BLE001 whatever a server sends, the doctor reports
        yield _crashed(name, error)


def _crashed(name: str, error: Exception) -> Finding:
    return warning(
        "check-failed",
        f"{name} stumbled over a reply it does not understand ({type(error).__name__}).",
        cause="The server answers in a form that is not known here.",
        mend="Report it, with the server's name and version.",
        check=name,
    )
