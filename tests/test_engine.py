"""What Embedder and Reranker share over an engine."""

from __future__ import annotations

import gc
import threading
from typing import TYPE_CHECKING

import pytest

from engines import LONGEST, SIZE, WordsEngine
from qwen_embed_integrations import Embedder, ModelProfile, Reranker, RerankProfile
from qwen_embed_integrations.engine import SharedEngine, Usage
from qwen_embed_integrations.errors import InvalidInputError, ModelOutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    from qwen_embed_integrations.engine import Batch

    Make: TypeAlias = Callable[[WordsEngine], Embedder | Reranker]

PROFILE = ModelProfile(
    name="words", dimensions=SIZE, min_dimensions=2, query_prefix="{instruction}: ", default_instruction="Find"
)
RERANK_PROFILE = RerankProfile(name="words", body="{instruction}{query}{document}", default_instruction="Find")


def embedder(engine: WordsEngine) -> Embedder:
    return Embedder(engine, PROFILE, dimensions=32, instruction="Find pets")


def reranker(engine: WordsEngine) -> Reranker:
    return Reranker(engine, RERANK_PROFILE, instruction="Find pets")


both = pytest.mark.parametrize("over", [embedder, reranker])


def test_usage_adds_up() -> None:
    assert Usage(1, 2, 3) + Usage(10, 20, 30) == Usage(11, 22, 33)


@both
def test_the_engine_is_closed_with_the_last_object_over_it(over: Make) -> None:
    engine = WordsEngine()
    first = over(engine)
    second, third = first.with_options(), first.with_options()
    first.close()
    third.close()
    first.close()  # once more, which counts no other
    assert engine.closed == 0
    second.close()
    assert engine.closed == 1


@both
async def test_closing_asynchronously_counts_too(over: Make) -> None:
    engine = WordsEngine()
    first = over(engine)
    second = first.with_options()
    await first.aclose()
    assert engine.closed == 0
    await second.aclose()
    assert engine.closed == 1


@both
def test_an_object_that_was_garbage_collected_uses_the_engine_no_longer(over: Make) -> None:
    engine = WordsEngine()
    first = over(engine)
    first.with_options()
    gc.collect()
    first.close()
    assert engine.closed == 1


def test_an_object_that_was_refused_is_no_user() -> None:
    engine = WordsEngine()
    first = embedder(engine)
    with pytest.raises(InvalidInputError) as caught:
        first.with_options(dimensions=SIZE + 1)
    assert caught.value.__traceback__ is not None  # which holds the object
    first.close()
    assert engine.closed == 1


@both
def test_an_alone_object_closes_the_engine_each_time(over: Make) -> None:
    engine = WordsEngine()
    first = over(engine)
    first.close()
    first.close()
    assert engine.closed == 2


def test_of_threads_that_leave_together_one_is_the_last() -> None:
    shared: SharedEngine[WordsEngine] = SharedEngine(WordsEngine())
    users = [Embedder(shared, PROFILE) for _ in range(16)]
    together = threading.Barrier(16)
    last: list[bool] = []

    def leave(user: Embedder) -> None:
        together.wait()
        last.append(shared.leave(user))

    threads = [threading.Thread(target=leave, args=(user,)) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(last) == [False] * 15 + [True]


@pytest.mark.filterwarnings("ignore::qwen_embed_integrations.errors.LongTextWarning")
def test_usage_is_that_of_all_objects_over_the_engine() -> None:
    first = embedder(WordsEngine())
    second = first.with_options(dimensions=8)
    first.embed_documents(["a b", "c"])
    second.embed_documents(["d" * (LONGEST + 1)])
    assert first.usage == second.usage == Usage(tokens=4, shortened=1)


@pytest.mark.filterwarnings("ignore::qwen_embed_integrations.errors.LongTextWarning")
def test_batches_count_the_texts_that_were_cut() -> None:
    first = embedder(WordsEngine())
    list(first.embed_batches(["d" * (LONGEST + 1)] * 3, "document"))
    assert first.usage.shortened == 3


def test_texts_that_were_cut_in_a_failed_call_count_too() -> None:
    class Breaks(WordsEngine):
        def embed(self, texts: Sequence[str]) -> Iterator[Batch]:
            yield from super().embed(texts)
            raise ModelOutputError("broken")

    first = embedder(Breaks())
    with pytest.raises(ModelOutputError):
        first.embed_documents(["d" * (LONGEST + 1)])
    assert first.usage.shortened == 1


@pytest.mark.parametrize("call", ["sync", "async"])
async def test_what_an_engine_says_when_it_is_closed_reaches_the_caller(call: str) -> None:
    first, second = embedder(WordsEngine()), reranker(WordsEngine())
    first.close()
    second.close()
    with pytest.raises(ModelOutputError, match="is closed"):
        first.embed_documents(["a"]) if call == "sync" else await first.aembed_queries(["a"])
    with pytest.raises(ModelOutputError, match="is closed"):
        second.rerank("a", ["b"]) if call == "sync" else await second.arerank("a", ["b"])


def test_an_embedder_describes_itself_and_its_engine() -> None:
    described = embedder(WordsEngine())
    assert described.describe() == {
        "model": "words",
        "device": "cpu",
        "dtype": "float32",
        "max_tokens": LONGEST,
        "dimensions": 32,
        "instruction": "Find pets",
        "fingerprint": described.fingerprint,
    }
    assert described.with_options().describe()["instruction"] == "Find"


def test_a_reranker_describes_itself_and_its_engine() -> None:
    described = reranker(WordsEngine())
    assert described.describe() == {
        "model": "words",
        "device": "cpu",
        "dtype": "float32",
        "max_tokens": LONGEST,
        "instruction": "Find pets",
    }
    assert described.with_options().describe()["instruction"] == "Find"


def test_a_reranker_over_an_embedder_describes_the_embedder() -> None:
    under = embedder(WordsEngine())
    assert Reranker.over(under).describe() == under.describe()
    assert Reranker.over(under, instruction="Find code").describe() == under.describe() | {"instruction": "Find code"}
