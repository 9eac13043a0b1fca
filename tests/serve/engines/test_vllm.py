from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import pytest

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.serve.engines.installed import Engine
from qwen_embed_integrations.serve.engines.vllm import build
from qwen_embed_integrations.serve.options import ServeOptions
from qwen_embed_integrations.serve.target import Target, resolve

if TYPE_CHECKING:
    from qwen_embed_integrations.serve.command_line import Command

GIB = 1024**3
NEWEST = Engine("vllm", "0.32.0")
BGE = Target(model="BAAI/bge-reranker-v2-m3", task="rerank", architecture="xlm-roberta", classifies=True)
EVERYTHING = ServeOptions(
    replicas=2,
    memory_fraction=0.5,
    dtype="float16",
    context_length=4096,
    revision="main",
    served_model_name="name",
    api_key_env="KEY",
)


def flags(command: Command) -> dict[str, str | None]:
    return {flag.name: flag.value for flag in command.flags}


def overrides(model: str) -> Any:
    return json.loads(flags(build(resolve(model), NEWEST, ServeOptions()))["--hf-overrides"] or "")


@pytest.mark.parametrize(
    "options", [ServeOptions(), ServeOptions(device="cpu"), EVERYTHING], ids=["plain", "cpu", "all"]
)
@pytest.mark.parametrize(
    "target",
    [
        resolve("Qwen/Qwen3-Embedding-4B"),
        resolve("Qwen/Qwen3-Reranker-8B"),
        resolve("mxbai-embed-xsmall"),
        resolve("mixedbread-ai/mxbai-rerank-large-v2"),
        BGE,
    ],
    ids=lambda target: target.model,
)
def test_every_option_is_one_of_vllms(target: Target, options: ServeOptions, vllm_options: frozenset[str]) -> None:
    command = build(target, NEWEST, options)
    assert command.program == ("vllm", "serve", target.model)
    assert set(flags(command)) <= vllm_options


def test_an_embedding_model_embeds_and_may_be_cut() -> None:
    chosen = flags(build(resolve("Qwen/Qwen3-Embedding-0.6B"), NEWEST, ServeOptions()))
    assert (chosen["--runner"], chosen["--convert"]) == ("pooling", "embed")
    assert overrides("Qwen/Qwen3-Embedding-0.6B") == {"is_matryoshka": True}


def test_a_qwen3_reranker_is_told_which_tokens_to_compare() -> None:
    # https://github.com/vllm-project/vllm/pull/19260
    assert overrides("Qwen/Qwen3-Reranker-0.6B") == {
        "architectures": ["Qwen3ForSequenceClassification"],
        "classifier_from_token": ["no", "yes"],
        "is_original_qwen3_reranker": True,
    }
    chosen = flags(build(resolve("Qwen/Qwen3-Reranker-0.6B"), NEWEST, ServeOptions()))
    assert str(chosen["--chat-template"]).endswith("qwen3_reranker.jinja")
    assert "--convert" not in chosen


def test_mxbai_rerank_v2_is_told_which_tokens_to_compare() -> None:
    assert overrides("mixedbread-ai/mxbai-rerank-base-v2") == {
        "architectures": ["Qwen2ForSequenceClassification"],
        "classifier_from_token": ["0", "1"],
        "method": "from_2_way_softmax",
    }


def test_a_cross_encoder_needs_nothing_but_the_runner() -> None:
    chosen = flags(build(BGE, NEWEST, ServeOptions()))
    assert chosen["--runner"] == "pooling"
    assert not {"--convert", "--hf-overrides", "--chat-template"} & set(chosen)


def test_the_key_goes_by_the_environment_and_not_by_the_command_line() -> None:
    command = build(resolve("Qwen/Qwen3-Embedding-0.6B"), NEWEST, EVERYTHING)
    assert command.secrets == {"VLLM_API_KEY": "KEY"}
    assert "hush" not in " ".join(command.argv({"KEY": "hush"}))
    assert command.variables({"KEY": "hush"})["VLLM_API_KEY"] == "hush"


def test_the_callers_choices_are_taken() -> None:
    chosen = flags(build(resolve("Qwen/Qwen3-Embedding-0.6B"), NEWEST, EVERYTHING))
    wanted = {
        "--data-parallel-size": "2",
        "--gpu-memory-utilization": "0.5",
        "--dtype": "float16",
        "--max-model-len": "4096",
        "--revision": "main",
        "--served-model-name": "name",
    }
    assert {name: chosen[name] for name in wanted} == wanted


def test_on_a_cpu_the_cache_has_a_size_of_its_own() -> None:
    command = build(resolve("Qwen/Qwen3-Embedding-0.6B"), NEWEST, ServeOptions(device="cpu"))
    assert int(command.environment["VLLM_CPU_KVCACHE_SPACE"]) >= 7
    assert "--gpu-memory-utilization" not in flags(command)


@pytest.mark.parametrize("device", ["auto", "cpu"])
@pytest.mark.parametrize("model", ["Qwen/Qwen3-Reranker-4B", "Qwen/Qwen3-Reranker-8B", "Qwen/Qwen3-Embedding-8B"])
def test_the_cache_has_room_for_the_longest_text_that_is_read(model: str, device: Literal["auto", "cpu"]) -> None:
    target = resolve(model)
    command = build(target, NEWEST, ServeOptions(device=device, free=80 * GIB, total=80 * GIB))
    chosen = flags(command)
    assert chosen["--max-model-len"] == str(target.context)
    # What vLLM itself asks for: keys and values of one text of that length.
    needed = int(chosen["--max-model-len"] or 0) * target.kv_bytes * (2 if device == "cpu" else 1)
    if device == "cpu":
        given = int(command.environment["VLLM_CPU_KVCACHE_SPACE"]) * GIB
    else:
        given = int(float(chosen["--gpu-memory-utilization"] or 0) * 80 * GIB) - (target.weights or 0) - 2 * GIB
    assert given >= needed


@pytest.mark.parametrize(
    ("model", "version", "message"),
    [
        ("Qwen/Qwen3-Embedding-0.6B", "0.9.2", "older than --runner pooling"),
        ("Qwen/Qwen3-Reranker-0.6B", "0.13.0", r"0\.14 is the first"),
        ("jinaai/jina-embeddings-v2-base-en", "0.32.0", "text-embeddings-router"),
        ("mixedbread-ai/mxbai-rerank-base-v1", "0.32.0", r"no DeBERTa.*Reranker\.local"),
    ],
)
def test_what_vllm_cannot_serve_rightly_is_refused(model: str, version: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        build(resolve(model), Engine("vllm", version, "python"), ServeOptions())
