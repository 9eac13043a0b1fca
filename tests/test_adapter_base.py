"""What both frameworks' classes do with the core object they are built over."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode

import checkpoints
from qwen_embed_integrations import ModelProfile, langchain, llama_index
from qwen_embed_integrations.adapter_base import Core
from qwen_embed_integrations.errors import ClosedError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qwen_embed_integrations.adapter_base import CoreModel

    Make = Callable[..., Any]

EMBEDDINGS = ["langchain.LocalEmbeddings", "llama_index.LocalEmbedding"]
RERANKERS = ["langchain.LocalRerank", "llama_index.LocalRerank"]
CLASSES = {
    "langchain.LocalEmbeddings": langchain.LocalEmbeddings,
    "llama_index.LocalEmbedding": llama_index.LocalEmbedding,
    "langchain.LocalRerank": langchain.LocalRerank,
    "llama_index.LocalRerank": llama_index.LocalRerank,
}
COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "model_copy": lambda made: made.model_copy(),
    "model_copy deep": lambda made: made.model_copy(deep=True),
    "model_copy instruction": lambda made: made.model_copy(update=instruction(made)),
}


def instruction(made: Any) -> dict[str, str]:
    return {"query_instruction" if hasattr(made, "embedder") else "instruction": "Find pets"}


def core(made: Any) -> Any:
    return made.embedder if hasattr(made, "embedder") else made.reranker


def engine(made: Any) -> Any:
    return core(made)._engine


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """Make an embedding model and a reranker, told apart by whether they rerank."""
    folder = tmp_path_factory.mktemp("models")
    return {
        False: checkpoints.qwen3_embedding(folder / "Qwen3-Embedding-0.6B"),
        True: checkpoints.qwen3(folder / "Qwen3-Reranker-0.6B", append_eos=False),
    }


@pytest.fixture
def make(folders: dict[bool, Path]) -> Make:
    def one(name: str, **settings: Any) -> CoreModel:
        kind = CLASSES[name]
        given = {"model": folders["Rerank" in name], "device": "cpu", "dtype": "float32", **settings}
        return kind(**given)

    return one


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("name", CLASSES)
def test_a_copy_shares_the_loaded_model_and_has_a_core_object_of_its_own(
    make: Make, name: str, copied: Callable[[Any], Any]
) -> None:
    made = make(name)
    other = copied(made)
    assert engine(other) is engine(made)
    assert core(other) is not core(made)


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_a_copy_with_other_dimensions_shares_the_model_and_gives_vectors_of_those(make: Make, name: str) -> None:
    made = make(name)
    small = made.model_copy(update={"dimensions": 32})
    assert engine(small) is engine(made)
    full = made.embedder.embed_documents(["quick fox"])
    assert small.embedder.embed_documents(["quick fox"]).shape == (1, 32)
    np.testing.assert_allclose(
        small.embedder.embed_documents(["quick fox"])[0], full[0, :32] / np.linalg.norm(full[0, :32]), atol=1e-6
    )
    assert small.embedder.fingerprint != made.embedder.fingerprint


@pytest.mark.parametrize("name", CLASSES)
def test_a_copy_with_another_instruction_uses_it(make: Make, name: str) -> None:
    made = make(name)
    other = made.model_copy(update=instruction(made))
    assert (core(other).instruction, core(made).instruction) == ("Find pets", None)


@pytest.mark.parametrize("update", [{"dtype": "bfloat16"}, {"long_text": "error"}, {"token_budget": 64}], ids=str)
@pytest.mark.parametrize("name", CLASSES)
def test_a_copy_that_is_loaded_otherwise_loads_its_own(make: Make, name: str, update: dict[str, Any]) -> None:
    made = make(name)
    assert engine(made.model_copy(update=update)) is not engine(made)


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_a_copy_with_another_profile_loads_its_own(make: Make, name: str) -> None:
    made = make(name)
    other = made.model_copy(update={"profile": ModelProfile(name="mine", pooling="mean", query_prefix="query: ")})
    assert engine(other) is not engine(made)
    assert other.embedder.profile.name == "mine"


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_a_copy_that_is_refused_leaves_the_original_as_the_only_user(make: Make, name: str) -> None:
    made = make(name)
    with pytest.raises(InvalidInputError, match="`dimensions` is 100000"):
        made.model_copy(update={"dimensions": 100_000})
    gc.collect()
    assert closings(made, made.close) == 1


@pytest.mark.parametrize("name", CLASSES)
def test_an_unpickled_object_shares_nothing(make: Make, name: str) -> None:
    made = make(name)
    assert engine(pickle.loads(pickle.dumps(made))) is not engine(made)  # noqa: S301 its own pickle


@pytest.mark.parametrize("name", CLASSES)
def test_copies_of_an_unpickled_object_load_once(make: Make, name: str) -> None:
    made = pickle.loads(pickle.dumps(make(name)))  # noqa: S301 its own pickle
    copies = [copy.copy(made), copy.deepcopy(made), made]
    assert len({id(engine(instance)) for instance in copies}) == 1


def closings(made: Any, *steps: Callable[[], object]) -> int:
    """Return how often the engine is closed by these steps."""
    counted: list[int] = []
    shared = engine(made)
    close = shared.close
    shared.close = lambda: (counted.append(1), close())
    for step in steps:
        step()
    return len(counted)


@pytest.mark.parametrize("last", ["the original", "the copy"])
@pytest.mark.parametrize("name", CLASSES)
def test_the_model_is_closed_with_the_last(make: Make, name: str, last: str) -> None:
    made = make(name)
    other = copy.copy(made)
    core(other)
    first, second = (other, made) if last == "the original" else (made, other)
    kept = engine(made)
    assert closings(made, first.close) == 0
    assert engine(second) is kept
    assert closings(second, second.close) == 1


@pytest.mark.parametrize("name", CLASSES)
def test_an_object_that_was_closed_shares_with_its_copy_again(make: Make, name: str) -> None:
    made = make(name)
    other = copy.copy(made)
    core(other)
    made.close()
    assert engine(made) is engine(other)


@pytest.mark.parametrize("name", CLASSES)
def test_after_the_last_is_closed_the_model_is_loaded_again(make: Make, name: str) -> None:
    made = make(name)
    first, before = engine(made), answer(made)
    made.close()
    assert answer(made) == pytest.approx(before, abs=1e-6)
    assert engine(made) is not first


def answer(made: Any) -> list[float]:
    if hasattr(made, "embedder"):
        vector: list[float] = made.embedder.embed_documents(["quick fox"])[0].tolist()
        return vector
    return [ranked.score for ranked in made.reranker.rerank("fox", ["quick fox", "lazy dog"])]


@pytest.mark.parametrize("name", CLASSES)
def test_a_copy_that_was_garbage_collected_is_counted_down(make: Make, name: str) -> None:
    made = make(name)
    other = copy.copy(made)
    core(other)
    del other
    gc.collect()
    assert closings(made, made.close) == 1


@pytest.mark.parametrize("name", CLASSES)
async def test_closing_asynchronously_counts_too(make: Make, name: str) -> None:
    made = make(name)
    other = copy.copy(made)
    kept = engine(other)
    await made.aclose()
    assert engine(other) is kept
    await other.aclose()
    assert engine(other) is not kept


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_usage_is_that_of_all_copies(make: Make, name: str) -> None:
    made = make(name)
    other = made.model_copy(update={"dimensions": 32})
    other.embedder.embed_documents(["quick fox"])
    assert made.embedder.usage == other.embedder.usage
    assert made.embedder.usage.tokens > 0


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_copies_used_and_closed_in_many_threads_share_one_model(make: Make, name: str) -> None:
    made = make(name)
    expected = made.embedder.embed_documents(["quick fox"])[0, :32]
    expected /= np.linalg.norm(expected)
    together = threading.Barrier(8)
    wrong: list[object] = []

    def work() -> None:
        try:
            for _ in range(10):
                together.wait()
                mine = made.model_copy(update={"dimensions": 32})
                if engine(mine) is not engine(made):
                    wrong.append(mine)
                np.testing.assert_allclose(mine.embedder.embed_documents(["quick fox"])[0], expected, atol=1e-5)
                mine.close()
        except BaseException as error:
            wrong.append(error)
            together.abort()
            raise

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert closings(made, made.close) == 1


def test_threads_that_come_together_build_once() -> None:
    built: list[Thing] = []
    together = threading.Barrier(8)
    cores: list[Core[Thing]] = [Core()]
    cores += [cores[0].copy() for _ in range(7)]

    def build() -> Thing:
        built.append(Thing())
        return built[-1]

    def come(mine: Core[Thing]) -> None:
        together.wait()
        mine.get(build, lambda _: Thing())

    threads = [threading.Thread(target=come, args=(mine,)) for mine in cores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert len({id(mine.built) for mine in cores}) == 8


class Thing:
    """Stands for what is built."""

    is_closed = False


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_a_core_object_that_was_closed_by_itself_is_built_anew(make: Make, name: str) -> None:
    made = make(name)
    copied = made.model_copy(update={"dimensions": 32})
    closed = made.embedder
    copied.embedder.close()
    closed.close()
    with pytest.raises(ClosedError):
        closed.embed_documents(["quick fox"])
    assert len(copied.embedder.embed_documents(["quick fox"])[0]) == 32
    assert engine(made) is engine(copied)
    copied.close()
    made.close()


# --- loading off the event loop


CALLS: dict[str, list[Callable[[Any], Any]]] = {
    "langchain.LocalEmbeddings": [
        lambda made: made.aembed_query("quick fox"),
        lambda made: made.aembed_documents(["quick fox"]),
        lambda made: langchain.EmbeddingRerank(embeddings=made).arerank(["quick fox"], "fox"),
    ],
    "llama_index.LocalEmbedding": [
        lambda made: made.aget_query_embedding("quick fox"),
        lambda made: made.aget_text_embedding("quick fox"),
        lambda made: made.aget_text_embedding_batch(["quick fox"]),
    ],
    "langchain.LocalRerank": [
        lambda made: made.arerank(["quick fox"], "fox"),
        lambda made: made.acompress_documents([Document("quick fox")], "fox"),
    ],
    "llama_index.LocalRerank": [
        lambda made: made.apostprocess_nodes([NodeWithScore(node=TextNode(text="quick fox"))], query_str="fox"),
    ],
}


@pytest.mark.parametrize(
    ("name", "call"),
    [
        pytest.param(name, call, id=f"{name}-{number}")
        for name, calls in CALLS.items()
        for number, call in enumerate(calls)
    ],
)
async def test_weights_are_loaded_in_a_thread_while_the_event_loop_goes_on(
    make: Make, monkeypatch: pytest.MonkeyPatch, name: str, call: Callable[[Any], Any]
) -> None:
    made = make(name)
    pending = call(made)  # where the call makes an object, it makes it over the model that is there
    made.close()
    loaded_in: list[threading.Thread] = []
    loop, ticked = asyncio.get_running_loop(), threading.Event()
    build = type(made)._build

    def observed(self: Any) -> Any:
        loaded_in.append(threading.current_thread())
        loop.call_soon_threadsafe(ticked.set)
        assert ticked.wait(60), "the event loop stands still"
        return build(self)

    monkeypatch.setattr(type(made), "_build", observed)
    await pending
    assert len(loaded_in) == 1
    assert loaded_in[0] is not threading.current_thread()


@pytest.mark.parametrize("name", EMBEDDINGS)
async def test_callers_at_once_load_once(make: Make, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    made = make(name)
    made.close()
    loads: list[object] = []
    build = type(made)._build
    monkeypatch.setattr(type(made), "_build", lambda self: (loads.append(self), build(self))[1])
    await asyncio.gather(*(CALLS[name][0](made) for _ in range(12)))
    assert len(loads) == 1


async def test_no_texts_load_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make("llama_index.LocalEmbedding")
    made.close()
    monkeypatch.setattr(type(made), "_build", lambda _: pytest.fail("loaded"))
    assert await made.aget_text_embedding_batch([]) == []
