from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qwen_embed_integrations import ServerInfo
from qwen_embed_integrations.errors import WrongServerError
from qwen_embed_integrations.served.dialects.llama_cpp import DIALECT

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_embed_integrations import Reranker
    from qwen_embed_integrations.errors import TextTooLongError
    from recorded import Replay

    Check = Callable[..., None]


def test_it_says_what_it_runs(replay: Replay, recognised: Callable[..., ServerInfo]) -> None:
    replay("llama_cpp_embedding")
    assert recognised() == ServerInfo(
        kind="llama_cpp", version="b6123-79c1160b", model="qwen3-embedding-0.6b", max_tokens=8192
    )


@pytest.mark.parametrize("dialect", ["auto", "llama_cpp"])
def test_it_gets_openais_embedding_request(embeds_as_recorded: Check, dialect: str) -> None:
    embeds_as_recorded("llama_cpp_embedding", dialect=dialect)


@pytest.mark.parametrize("dialect", ["auto", "llama_cpp"])
def test_it_gets_the_common_rerank_request(reranks_as_recorded: Check, dialect: str) -> None:
    reranks_as_recorded("llama_cpp_reranker", dialect=dialect)


def test_a_long_text_fills_its_batch_and_the_model_may_read_more(
    refuses_long_texts: Callable[[str, ServerInfo], TextTooLongError],
) -> None:
    error = refuses_long_texts("llama_cpp_embedding", ServerInfo(kind="llama_cpp", max_tokens=512))
    assert "longer than the server takes" in str(error)
    assert "physical batch size" in str(error)
    assert error.positions == (1,)


def test_one_that_was_not_started_to_rerank_says_so(replay: Replay, reranker: Callable[..., Reranker]) -> None:
    replay("llama_cpp_embedding", "rerank")
    with pytest.raises(WrongServerError, match="Start it with `--reranking`"):
        reranker().rerank("q", ["a"])


def test_the_files_template_holds_the_instruction(has_an_instruction_of_its_own: Check) -> None:
    has_an_instruction_of_its_own(ServerInfo(kind="llama_cpp"))


def test_its_command_names_the_pooling_where_one_is_wanted() -> None:
    embedder = DIALECT.remedies.start_embedder
    assert embedder is not None
    assert embedder("m", "last") == "llama-server -m MODEL.gguf --embeddings --pooling last"
    assert embedder("m", None) == "llama-server -m MODEL.gguf --embeddings"
