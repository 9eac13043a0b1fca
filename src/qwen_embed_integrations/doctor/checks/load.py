"""How fast is the server, alone and with requests in flight at once?"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from qwen_embed_integrations.doctor.checks.reach import is_alive
from qwen_embed_integrations.doctor.data import samples
from qwen_embed_integrations.doctor.findings import Finding, note, ok, warning
from qwen_embed_integrations.errors import ServerBusyError, ServerConnectionError
from qwen_embed_integrations.served.flow import Request
from qwen_embed_integrations.served.replies import parse_json, tokens_used

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qwen_embed_integrations.doctor.server import ExaminedServer
    from qwen_embed_integrations.served.connection import Connection
    from qwen_embed_integrations.served.flow import Flow

IN_FLIGHT = (1, 8, 32)
_SECONDS = 1.5
_WORDS = 40
_DOCUMENTS = 4
_NO_FASTER = 1.15
_Unanswered = Literal["busy", "late"] | ServerConnectionError


@dataclass
class _Level:
    """What was measured at one number of requests in flight."""

    in_flight: int
    seconds: float = 0.0
    busy: int = 0
    lost: list[ServerConnectionError] = field(default_factory=list)
    tokens: int = 0
    latencies: list[float] = field(default_factory=list)

    def add(self, answered: tuple[float, int] | _Unanswered) -> None:
        """Note what became of a request."""
        if answered == "busy":
            self.busy += 1
        elif isinstance(answered, ServerConnectionError):
            self.lost.append(answered)
        elif answered != "late":
            latency, tokens = answered
            self.latencies.append(latency)
            self.tokens += tokens

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def summary(self) -> dict[str, Any]:
        """Return the numbers, latencies in milliseconds."""
        p50, p95 = np.percentile(self.latencies, [50, 95]) * 1000 if self.latencies else (None, None)
        return {
            "in_flight": self.in_flight,
            "requests": len(self.latencies),
            "requests_per_second": round(self.rate, 1),
            "tokens_per_second": round(self.tokens / self.seconds) if self.tokens and self.seconds else None,
            "p50_ms": None if p50 is None else round(float(p50), 1),
            "p95_ms": None if p95 is None else round(float(p95), 1),
            "busy": self.busy,
            "lost": len(self.lost),
        }


def check_load(
    server: ExaminedServer, task: str, connect: Callable[[int], Connection], *, seconds: float = _SECONDS
) -> Iterator[Finding]:
    """Send single texts (or a query with four documents) for a moment at 1, 8 and 32 in flight.

    Args:
        server: The server.
        task: `"embed"` or `"rerank"`.
        connect: Opens a connection that keeps so many requests in flight, without retries.
        seconds: How long a moment is; as many requests as are in flight at once are sent however long they take.
    """
    levels = []
    for in_flight in IN_FLIGHT:
        with closing(connect(in_flight)) as connection:
            levels.append(_measure(server, connection, task, in_flight, seconds))
        if levels[-1].lost:
            if not is_alive(server):
                raise levels[-1].lost[0]
            break  # more at once would show nothing
    summaries = [level.summary() for level in levels]
    unit = "texts" if task == "embed" else f"queries of {_DOCUMENTS} documents"
    lines = "; ".join(
        f"{level.in_flight} in flight {level.rate:.0f}/s"
        + (f", p50 {summary['p50_ms']:.0f} ms, p95 {summary['p95_ms']:.0f} ms" if level.latencies else "")
        + (f", {summary['tokens_per_second']} tokens/s" if summary["tokens_per_second"] else "")
        for level, summary in zip(levels, summaries, strict=True)
    )
    yield ok("load", f"{unit} of about {_WORDS} words: {lines}.", levels=summaries)
    refused = [level for level in levels if level.busy]
    if refused:
        busy = refused[0]
        yield warning(
            "busy",
            f"With {busy.in_flight} in flight, {busy.busy} of {busy.busy + len(busy.latencies)} requests were refused "
            "as too many.",
            cause=server.dialect.causes.queue_full,
            mend=f"Raise that bound, or stay below it: max_concurrency={max(1, busy.in_flight // 2)}.",
            levels=summaries,
        )
    last = levels[-1]
    if last.lost:
        requests = len(last.lost) + len(last.latencies)
        yield warning(
            "no-answer",
            f"With {last.in_flight} in flight, {len(last.lost)} of {requests} requests got no whole answer in time.",
            cause="The server is too slow for so many at once, or breaks connections off.",
            mend=f"Stay below: max_concurrency={max(1, last.in_flight // 2)}; or wait longer: timeout, here --timeout.",
            levels=summaries,
        )
    single, eight = levels[0], levels[1] if len(levels) > 1 else _Level(0)
    if single.latencies and eight.latencies and eight.rate < _NO_FASTER * single.rate:
        flag = server.dialect.remedies.batch_width_flag
        yield note(
            "no-batching",
            f"8 requests in flight are no faster than one after the other ({eight.rate:.0f} against "
            f"{single.rate:.0f} a second).",
            cause="The server works on one request at a time, or its processors are busy with a single one.",
            mend=f"On a GPU look for a batch width of 1{f' ({flag})' if flag else ''}; send lists of texts rather than "
            "single ones.",
            levels=summaries,
        )


def _measure(server: ExaminedServer, connection: Connection, task: str, in_flight: int, seconds: float) -> _Level:
    level = _Level(in_flight)
    started = time.perf_counter()
    deadline = started + seconds

    def timed(number: int, text: str) -> Flow[tuple[float, int] | _Unanswered]:
        begun = time.perf_counter()
        if begun > deadline and number >= in_flight:
            return "late"  # it waited too long for its turn
        try:
            reply = yield _request(server, task, text)
        except ServerBusyError:
            return "busy"
        except ServerConnectionError as error:
            return error
        return time.perf_counter() - begun, tokens_used(parse_json(reply, connection.url("")))

    def flows() -> Iterator[Flow[tuple[float, int] | _Unanswered]]:
        for number in count():
            if time.perf_counter() >= deadline and number >= in_flight:
                return
            seed = in_flight * 1_000_000 + number  # other texts at every level: nothing is answered out of a cache
            yield timed(number, samples.fit(samples.words(seed, _WORDS), server.context))

    for answered in connection.run(flows()):
        level.add(answered)
    level.seconds = time.perf_counter() - started
    return level


def _request(server: ExaminedServer, task: str, text: str) -> Request:
    if task == "embed":
        return Request(server.embeddings_path, server.embed_body([text]))
    documents = [text, *samples.ANSWERS[: _DOCUMENTS - 1]]
    return Request(server.rerank_path, server.rerank_body(samples.QUESTIONS[0], documents))
