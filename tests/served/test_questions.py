"""Questions: each is asked once, an answer of any shape is borne, and time is kept."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from qwen_embed_integrations.errors import EndpointNotFoundError, ServerBusyError, ServerConnectionError
from qwen_embed_integrations.served.questions import Patience, Questions

if TYPE_CHECKING:
    from qwen_embed_integrations.served.flow import Flow, Request


def play(flow: Flow[Any], *answers: Any) -> tuple[list[Request], Any]:
    """Give these answers, or raise those that are errors; return what was asked and what came of it."""
    asked: list[Request] = []
    left = iter(answers)
    try:
        step = next(flow)
        while True:
            asked.append(step)  # type: ignore[arg-type]
            answer = next(left)
            given = isinstance(answer, Exception)
            step = flow.throw(answer) if given else flow.send(json.dumps(answer).encode())
    except StopIteration as done:
        return asked, done.value


@pytest.fixture
def questions() -> Questions:
    return Questions("http://somewhere", model="m")


def test_a_question_is_asked_once(questions: Questions) -> None:
    asked, answer = play(questions.ask("/info"), {"a": 1})
    assert ([request.path for request in asked], answer) == (["http://somewhere/info"], {"a": 1})
    assert play(questions.ask("/info")) == ([], {"a": 1})


@pytest.mark.parametrize("answer", [[], "text", 3, None, EndpointNotFoundError("no")])
def test_an_answer_of_another_shape_is_empty(questions: Questions, answer: Any) -> None:
    assert play(questions.ask("/info"), answer)[1] == {}


@pytest.mark.parametrize("trouble", [ServerBusyError("busy"), ServerConnectionError("down")])
def test_trouble_is_no_answer_but_for_a_hint(questions: Questions, trouble: Exception) -> None:
    with pytest.raises(type(trouble)):
        play(questions.ask("/info"), trouble)
    assert play(questions.ask("/info"), {"a": 1})[1] == {"a": 1}  # and may be asked for again
    assert play(questions.hint("/version"), trouble)[1] == {}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [(405, "", True), (404, "", False), (400, "", None), (400, "Method Not Allowed", True)],
)
def test_a_route_exists_where_a_get_is_not_allowed(
    questions: Questions, status: int, body: str, *, expected: bool | None
) -> None:
    error = EndpointNotFoundError("no", status=status, body=body)
    assert play(questions.exists("/v1/rerank"), error)[1] is expected


def test_without_a_deadline_a_question_is_brief_and_no_more(questions: Questions) -> None:
    (request,), _ = play(questions.ask("/info"), {})
    assert (request.optional, request.timeout) == (True, None)


def test_a_question_gets_the_time_that_is_left(questions: Questions) -> None:
    questions.patience = Patience(optional=False, deadline=time.monotonic() + 1000)
    (request,), _ = play(questions.ask("/info"), {})
    assert not request.optional
    assert request.timeout is not None
    assert 0 < request.timeout <= 1000
    (hint,), _ = play(questions.hint("/version"), {})
    assert hint.optional
    assert hint.timeout is not None
    assert 0 < hint.timeout <= 1000


def test_what_can_be_done_without_may_be_left_for_later(questions: Questions) -> None:
    questions.patience = Patience(hints=False)
    assert play(questions.hint("/version")) == ([], {})
    assert questions.skipped
    questions.patience = Patience()
    assert play(questions.hint("/version"), {"version": "1"})[1] == {"version": "1"}


def test_a_route_is_looked_for_once(questions: Questions) -> None:
    error = EndpointNotFoundError("no", status=405, body="")
    assert play(questions.exists("/v1/rerank"), error)[1] is True
    assert play(questions.exists("/v1/rerank")) == ([], True)


def test_what_was_not_answered_can_be_asked_again(questions: Questions) -> None:
    assert play(questions.ask("/info"), EndpointNotFoundError("no"))[1] == {}
    questions.forget_empty()
    assert play(questions.ask("/info"), {"a": 1})[1] == {"a": 1}


def test_past_the_deadline_nothing_is_asked(questions: Questions) -> None:
    questions.patience = Patience(deadline=time.monotonic() - 1)
    with pytest.raises(ServerConnectionError, match=r"http://somewhere took too long to say what it is.*`dialect`"):
        play(questions.ask("/info"))
    assert play(questions.hint("/version")) == ([], {})
