"""The list of servers, walked: each is one module, one name in the list, and one recorded reply."""

from __future__ import annotations

import json
import pkgutil
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest

import loopback
from qwen_embed_integrations import ServerInfo
from qwen_embed_integrations.errors import InvalidInputError, WrongServerError
from qwen_embed_integrations.served import dialects
from qwen_embed_integrations.served.dialects import DIALECTS, by_host
from qwen_embed_integrations.served.probe import probe
from qwen_embed_integrations.server_info import DialectName, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_embed_integrations import Embedder, Reranker
    from recorded import Replay

ROOT = Path(__file__).parents[3]
NAMES: tuple[DialectName, ...] = get_args(DialectName)
# What the modules of the folder hold that are no server's.
SHARED = {"base", "examination"}


def server_of(recording: str) -> DialectName | None:
    """Return whose recording this is: `sglang_router_reranker` is sglang_router's, and not sglang's."""
    named = [name for name in NAMES if f"{recording}_".startswith(f"{name}_")]
    return max(named, key=len, default=None)


RECORDINGS = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted(Path(__file__).parents[1].joinpath("wire").glob("*.json"))
}


def test_the_list_of_names_is_the_list_of_modules_and_unknown_is_no_name_to_give() -> None:
    modules = {module.name for module in pkgutil.iter_modules(dialects.__path__)} - SHARED
    assert list(DIALECTS) == list(get_args(Kind)) == [*NAMES, "unknown"]
    assert modules == set(DIALECTS)


@pytest.mark.parametrize("name", NAMES)
def test_each_module_holds_the_dialect_of_its_name_with_a_title(name: DialectName) -> None:
    dialect = DIALECTS[name]
    assert dialect.name == name
    assert dialect.is_known
    assert dialect.title
    assert [other.name for other in DIALECTS.values() if other.title == dialect.title] == [name]
    assert dialect.embeds or dialect.reranks
    # A hosted API is known by its host, any other server by what it says of itself.
    assert bool(dialect.hosts) != bool(dialect.describe)


@pytest.mark.parametrize("name", NAMES)
def test_each_server_has_a_row_on_the_page_of_dialects(name: DialectName) -> None:
    _, _, section = (ROOT / "docs/reranking.md").read_text(encoding="utf-8").partition("## Dialects")
    rows = re.findall(r"^\| (.*?) \|", section, re.MULTILINE)
    assert f'`"{name}"`' in " ".join(rows)


def test_every_recording_is_a_servers_and_every_server_has_one() -> None:
    assert {server_of(recording) for recording in RECORDINGS} == set(NAMES)
    assert all(recording["origin"] for recording in RECORDINGS.values())


@pytest.mark.parametrize("recording", RECORDINGS)
def test_a_server_is_recognised_by_its_recording_or_its_host(
    replay: Replay, recognised: Callable[..., ServerInfo], recording: str
) -> None:
    name = server_of(recording)
    assert name is not None
    for host in DIALECTS[name].hosts:
        info = by_host(f"https://{host.replace('*', 'x')}/v1")
        assert info is not None
        assert info.kind == name
    if not DIALECTS[name].hosts:
        replay(recording)
        assert recognised().kind == name


@pytest.mark.parametrize("recording", RECORDINGS)
def test_recorded_vectors_and_scores_are_read(
    replay: Replay,
    server: loopback.Server,
    at_host: Callable[[str], str],
    *,
    embedder: Callable[..., Embedder],
    reranker: Callable[..., Reranker],
    recording: str,
) -> None:
    name = server_of(recording)
    assert name is not None
    hosts = DIALECTS[name].hosts
    base_url = at_host(hosts[0].replace("*", "")) if hosts else server.base_url
    read = 0
    for key in ("floats", "rerank"):
        reply = RECORDINGS[recording].get(key)
        if reply is None or reply["status"] != 200:
            continue
        server.requests.clear()
        replay(recording, key)
        body = reply["body"]
        model = body.get("model", "m")
        (texts,) = (value for value in body.values() if isinstance(value, list))  # whatever the field is called
        if key == "floats":
            vectors = embedder(model, base_url=base_url).embed_documents(texts)
            np.testing.assert_allclose(vectors, vectors_in(reply["response"]), atol=1e-6)
        else:
            ours = reranker(model, base_url=base_url, instruction=body.get("instruct"))
            try:
                assert dict(ours.rerank(body["query"], texts)) == scores_in(reply["response"])
            except WrongServerError:
                continue  # an embedding server's idea of reranking
        assert reply["path"] in [request.path for request in server.posted()]
        read += 1
    assert read, "nothing of this recording was read"


def vectors_in(response: Any) -> np.ndarray:
    rows = np.array([row["embedding"] for row in response["data"]])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def scores_in(response: Any) -> dict[int, float]:
    rows = response if isinstance(response, list) else response.get("results", response.get("data"))
    return {row["index"]: row.get("relevance_score", row.get("score")) for row in rows}


_FIELDS = [
    "architectures",
    "capabilities",
    "data",
    "default_generation_settings",
    "embedding",
    "id",
    "is_generation",
    "max_client_batch_size",
    "max_model_len",
    "max_queued_requests",
    "model_info",
    "model_path",
    "model_type",
    "type",
    "version",
]
_ODD = pytest.mark.parametrize(
    "odd", [None, 3, -1, "x", [], [3], {}, {"x": 3}, True, [{"id": 3, "owned_by": [], "root": 3}]]
)


def answered(asking: Any, odd: Any) -> Any:
    """Return what questions come to where every field of every answer is this."""
    try:
        next(asking)
        while True:
            asking.send(json.dumps(dict.fromkeys(_FIELDS, odd)).encode())
    except StopIteration as done:
        return done.value


@pytest.mark.parametrize("name", NAMES)
@_ODD
def test_no_answer_however_odd_breaks_the_asking(name: DialectName, odd: Any) -> None:
    info = answered(probe("http://h", model="m", named=DIALECTS[name]), odd)
    assert info.kind == name
    assert info.max_batch in {None, 3}
    assert info.version in {None, "x"}


# --- what a caller states ----------------------------------------------------------------------------------------


def test_an_address_that_is_no_hosted_apis_tells_nothing() -> None:
    assert by_host("http://localhost:30000/v1") is None


def test_a_server_that_is_stated_is_asked_nothing(server: loopback.Server, embedder: Callable[..., Embedder]) -> None:
    server.reply(loopback.to_embeddings(lambda texts: (200, loopback.embeddings_reply(texts, size=4), {})))
    stated = ServerInfo(kind="vllm", task="embed", max_batch=2)
    embedder(dialect=stated).embed_documents(["a", "b", "c"])
    requests = sorted((request.method, len(request.body["input"])) for request in server.requests)
    assert requests == [("POST", 1), ("POST", 2)]


def test_a_server_stated_to_be_for_something_else_is_refused_at_once(embedder: Callable[..., Embedder]) -> None:
    with pytest.raises(WrongServerError, match="runs a reranker"):
        embedder(dialect=ServerInfo(kind="sglang", task="rerank"))


def test_a_stated_kind_that_does_not_exist_is_refused(embedder: Callable[..., Embedder]) -> None:
    with pytest.raises(InvalidInputError, match="`dialect` is ServerInfo"):
        embedder(dialect=ServerInfo(kind="apache"))


def test_a_name_that_does_not_exist_is_refused_with_all_that_do(embedder: Callable[..., Embedder]) -> None:
    with pytest.raises(InvalidInputError, match="`dialect` is 'sgl'") as caught:
        embedder(dialect="sgl")
    assert all(f"'{name}'" in str(caught.value) for name in ("auto", *NAMES))
