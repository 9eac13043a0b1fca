"""Memory is that of the result: what is sent and received is not kept, however many texts there are."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

import loopback

if TYPE_CHECKING:
    from collections.abc import Callable

# Of every text, a request holds some 1,000 bytes and a reply some 350. What is kept for each shows in the difference
# between the two sizes.
FEW, MANY = 1_000, 5_000
SPARE = 200_000
DIMENSIONS = 64

PROGRAM = """
    import asyncio, json, sys, tracemalloc
    from qwen_embed_integrations import ModelProfile
    from qwen_embed_integrations.langchain import ServedEmbeddings

    settings = {{"base_url": {base_url!r}, "profile": ModelProfile(name="tiny"), "batch_size": 16}}
    embeddings = ServedEmbeddings(model="tiny", max_concurrency=2, **settings)

    async def aembed(texts):
        found = await embeddings.embedder.aembed_documents(texts)
        await embeddings.aclose()
        return found

    def size_of(result):
        if isinstance(result, list):
            return sys.getsizeof(result) + sum(sys.getsizeof(row) + sum(map(sys.getsizeof, row)) for row in result)
        return result.nbytes

    embed = {{
        "array": embeddings.embedder.embed_documents,
        "array, async": lambda texts: asyncio.run(aembed(texts)),
        "lists": embeddings.embed_documents,
    }}[{kind!r}]
    text = "x" * 1000
    embed([text] * 200)  # imports, connections and pools
    tracemalloc.start()
    found = []
    for count in {counts}:
        texts = [text] * count
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        result = embed(texts)
        after, peak = tracemalloc.get_traced_memory()
        found.append({{"kept": after - before - size_of(result), "passing": peak - after}})
        del texts, result
    print(json.dumps(found))
"""


def canned() -> Callable[[list[str]], loopback.Answer]:
    """Return an answer that is as fast as can be: the same vector for every text."""
    replies: dict[int, bytes] = {}

    def answer(texts: list[str]) -> loopback.Answer:
        if len(texts) not in replies:
            reply = loopback.embeddings_reply(["x"] * len(texts), encoding_format="base64", size=DIMENSIONS)
            replies[len(texts)] = json.dumps(reply).encode()
        return 200, replies[len(texts)], {}

    return answer


@pytest.mark.parametrize("kind", ["array", "array, async", "lists"])
def test_memory_does_not_grow_with_the_number_of_texts_beyond_the_result(server: loopback.Server, kind: str) -> None:
    server.reply(loopback.to_embeddings(canned()))
    program = PROGRAM.format(base_url=server.base_url, kind=kind, counts=(FEW, MANY))
    # In a process of its own, since the server's memory would be counted too.
    ended = subprocess.run(  # noqa: S603 our own program
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=100, check=True
    )
    few, many = json.loads(ended.stdout)
    assert many["passing"] - few["passing"] < SPARE
    assert many["kept"] < SPARE
