"""What is known of a server by now: stated, read off its address, or asked with the first use.

SGLang answers the wrong question with nonsense, so a server is asked what it is and for which task, and:

- Embedding sends its texts first. With the first reply, the questions go out beside whatever else is sent; the vectors
  that came are held back for the answer by half a second at most, and by twice as long after each time that the end of
  an event loop cut the questions off. A server that says so by then to be for another task is refused with its first
  vectors; one that says so later, with the next vectors of the call or with the next call, and it is logged.
- Reranking, and a server that was refused before, wait for the answer before anything is sent.
- First is asked what tells whether the server is for the task, then what can be done without.
- No question is asked after one deadline for all of them: `timeout` where the answer is waited for, a few seconds
  elsewhere. A server that did not answer by then is asked again half a minute later. Answers are kept from one attempt
  to the next.

A question counts as a request in flight: where only one is allowed, a call that comes meanwhile waits for it.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

from qwen_embed_integrations.errors import (
    InvalidInputError,
    ServerBusyError,
    ServerConnectionError,
    WrongServerError,
)
from qwen_embed_integrations.served.address import root_of
from qwen_embed_integrations.served.dialects import DIALECTS, by_host, check_dialect
from qwen_embed_integrations.served.probe import identify
from qwen_embed_integrations.served.questions import Patience, Questions
from qwen_embed_integrations.server_info import ServerInfo

if TYPE_CHECKING:
    from qwen_embed_integrations.options import ServedOptions
    from qwen_embed_integrations.served.dialects.base import Dialect, Embeds, Reranks
    from qwen_embed_integrations.served.flow import Flow
    from qwen_embed_integrations.server_info import Task

_log = logging.getLogger(__name__)

# Seconds for all questions together, where nothing has to wait for their answer.
_DEADLINE = 5.0
# Seconds by which vectors that came are held back for the answer; a call under a limit of one second must not fail for
# it.
_HOLD_BACK = 0.5
# Seconds before a server that could not say what it is gets asked again.
_ASK_AGAIN = 30.0


class Attempt:
    """One round of questions that is under way, which others may wait for.

    Args:
        hold_back: Seconds for which replies are held back for it.

    Attributes:
        ended: Done when it is over, however it ended.
    """

    def __init__(self, hold_back: float) -> None:
        self._hold_back = hold_back
        self.ended: Future[None] = Future()
        self.ended.set_running_or_notify_cancel()  # so that nobody who waits for it can cancel it
        self._started = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since it was begun."""
        return time.monotonic() - self._started

    @property
    def hold_back(self) -> float:
        """Seconds for which replies are still held back for it."""
        return max(0.0, self._hold_back - self.age)


class Recognition:
    """One server: what it is by now, and the questions that find it out.

    Attributes:
        base_url: Its address, up to and including `/v1`.
    """

    def __init__(self, base_url: str, *, task: Task, model: str, options: ServedOptions) -> None:
        check_dialect(options.dialect)
        self.base_url = base_url
        self._task: Task = task
        self._model = model
        self._patience = max(options.timeout, _DEADLINE)
        self._named: Dialect | None = None
        self._known: ServerInfo | None = None
        # What it said of itself, where that is not for the task.
        self._wrong: ServerInfo | None = None
        self._attempt: Attempt | None = None
        self._ask_again_at = 0.0
        self._questions: Questions | None = None
        self._questions_kept_until = 0.0
        # Attempts that the end of an event loop cut off.
        self._cut_off = 0
        # Reentrant: the garbage collector may end a dropped attempt in the midst of its owner's locked part.
        self._lock = threading.RLock()
        if isinstance(options.dialect, ServerInfo):
            self._known = options.dialect
        else:
            hosted = by_host(base_url)
            if options.dialect != "auto":
                self._named = DIALECTS[options.dialect]
            if hosted is not None and options.dialect in {"auto", hosted.kind}:
                self._known = hosted
        if self.dialect.form_for(task) is None:
            parameter = "base_url" if options.dialect == "auto" else "dialect"
            raise InvalidInputError(f"`{parameter}` names {self._missing_task(self.dialect)}", parameter=parameter)
        if self._known is not None:
            self._require_task(self._known)

    # --- what is known -------------------------------------------------------------------------------------------

    @property
    def is_known(self) -> bool:
        """Whether it was stated, or has said what it is."""
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

    @property
    def comes_first(self) -> bool:
        """Whether the server must say what it is before anything else is sent."""
        if self._known is not None:
            return False
        if self._wrong is not None:
            return True
        # One that was named and does not answer is believed to be what it was named.
        return self._task == "rerank" and (self._named is None or time.monotonic() >= self._ask_again_at)

    @property
    def attempt(self) -> Attempt | None:
        """The questions that are under way in the background."""
        return self._attempt

    def check(self) -> None:
        """Refuse a server that said it is for something else.

        Raises:
            WrongServerError: If it did, and has not said otherwise since.
        """
        if self._known is None and self._wrong is not None:
            self._require_task(self._wrong)

    # --- asking --------------------------------------------------------------------------------------------------

    def ask(self, *, required: bool) -> Flow[None]:
        """Find out what the server is, and that it is for the task.

        Args:
            required: Whether nothing can go on without the answer.

        Raises:
            WrongServerError: If it is for something else.
            ServerBusyError: If it was not named, is required, and too busy to answer.
            ServerConnectionError: If it was not named, is required, and does not answer.
        """
        # A server that was named is asked only for its task and limits, and need not be waited for as patiently.
        optional = not required or self._named is not None
        deadline = time.monotonic() + (_DEADLINE if optional else self._patience)
        questions = self._open_questions()
        try:
            questions.patience = Patience(optional, deadline, hints=False)
            info = yield from self._identify(questions)
            if questions.skipped:
                questions.patience = Patience(optional, deadline)
                info = yield from self._identify(questions)
        except (ServerBusyError, ServerConnectionError) as error:
            if isinstance(error, ServerBusyError):
                questions.forget_empty()  # of one that is still starting, "not found" says nothing
            # Not an answer to remember: the server may be one that answers the wrong question with nonsense.
            self._ask_again_at = time.monotonic() + _ASK_AGAIN
            if required and self._named is None:
                raise
            return
        self._known, self._wrong, self._questions = info, None, None

    def _open_questions(self) -> Questions:
        """Return the questions with what was answered lately."""
        now = time.monotonic()
        if self._questions is None or now >= self._questions_kept_until:
            self._questions = Questions(root_of(self.base_url), model=self._model)
        self._questions_kept_until = now + 2 * _ASK_AGAIN
        return self._questions

    def _identify(self, questions: Questions) -> Flow[ServerInfo]:
        info = yield from identify(questions, self._named)
        try:
            self._require_task(info)
        except WrongServerError:
            self._wrong, self._questions = info, None
            raise
        return info

    def ask_in_background(self) -> Flow[None] | None:
        """Return the questions as a flow to run beside the work; None where none are due, or somebody asks by now.

        Until the flow has ended, `attempt` is what others may wait for. A server that is for something else is
        remembered for `check`.
        """
        if self._known is not None:
            return None
        attempt = Attempt(min(_HOLD_BACK * 2**self._cut_off, _DEADLINE))
        with self._lock:
            # An attempt that was dropped with its event loop is not waited for longer than it could have taken.
            under_way = self._attempt is not None and self._attempt.age < 2 * _DEADLINE
            if under_way or time.monotonic() < self._ask_again_at:
                return None
            self._attempt = attempt
        return self._run_attempt(attempt)

    def abandon_attempt(self) -> None:
        """Let nobody wait for questions that were dropped with the connection."""
        attempt = self._attempt
        if attempt is not None:
            self._end(attempt)

    def _run_attempt(self, attempt: Attempt) -> Flow[None]:
        self._cut_off += 1
        try:
            yield from self.ask(required=False)
            self._cut_off = 0
        except WrongServerError as error:  # `check` raises it where somebody is told
            self._cut_off = 0
            if not attempt.hold_back:
                _log.warning("Vectors were returned before their server said what it is: %s", error)
        finally:
            self._end(attempt)

    def _end(self, attempt: Attempt) -> None:
        with self._lock:
            if self._attempt is attempt:
                self._attempt = None
            if not attempt.ended.done():
                attempt.ended.set_result(None)

    def _require_task(self, info: ServerInfo) -> None:
        dialect = DIALECTS[info.kind]
        info.require(self._task, self.base_url, dialect.advice.get(self._task, ""))
        if dialect.form_for(self._task) is None:
            raise WrongServerError(f"{self.base_url} is {self._missing_task(dialect)}", url=self.base_url)

    def _missing_task(self, dialect: Dialect) -> str:
        advice = dialect.advice.get(self._task, "Point `base_url` at a server that can.")
        return f"{dialect.title}, which does not {self._task} in a way that is spoken here. {advice}"
