"""An endpoint: the request for some texts, and the numbers in its reply."""

from __future__ import annotations

import numpy as np
import pytest

from qwen_embed_integrations.engine import Usage
from qwen_embed_integrations.errors import BadReplyError
from qwen_embed_integrations.served.endpoint import Endpoint
from qwen_embed_integrations.served.flow import Request
from qwen_embed_integrations.served.replies import read_scores
from qwen_embed_integrations.served.usage import UsageCounter


def endpoint(path: str = "rerank") -> Endpoint:
    return Endpoint(
        "http://somewhere/v1", path, "documents", lambda texts: {"texts": list(texts)}, read_scores, UsageCounter()
    )


def test_texts_go_to_its_path_in_its_form() -> None:
    assert endpoint().request(["a", "b"]) == Request("rerank", {"texts": ["a", "b"]})


@pytest.mark.parametrize(
    ("path", "url"),
    [("rerank", "http://somewhere/v1/rerank"), ("http://somewhere/rerank", "http://somewhere/rerank")],
)
def test_its_url_is_below_the_base_url_unless_it_is_one_already(path: str, url: str) -> None:
    assert endpoint(path).url == url


def test_a_reply_is_read_and_counted() -> None:
    ours = endpoint()
    reply = b'{"results": [{"index": 1, "score": 0.5}, {"index": 0, "score": 1}], "usage": {"total_tokens": 7}}'
    np.testing.assert_array_equal(ours.values(reply, 2), [1.0, 0.5])
    assert ours.usage.total == Usage(tokens=7, requests=1)


def test_a_reply_that_cannot_be_read_names_the_url_and_counts_where_it_is_json() -> None:
    ours = endpoint()
    with pytest.raises(BadReplyError, match="http://somewhere/v1/rerank answered with"):
        ours.values(b"{}", 2)
    with pytest.raises(BadReplyError, match="http://somewhere/v1/rerank answered 200 with no JSON"):
        ours.values(b"oops", 2)
    assert ours.usage.total.requests == 1
