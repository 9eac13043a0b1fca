from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.serve.engines.installed import Engine
from qwen_embed_integrations.serve.engines.sglang import build
from qwen_embed_integrations.serve.options import ServeOptions
from qwen_embed_integrations.serve.target import Target, resolve

if TYPE_CHECKING:
    from qwen_embed_integrations.profiles import Pooling
    from qwen_embed_integrations.serve.command_line import Command
    from qwen_embed_integrations.serve.target import Task

NEWEST = Engine("sglang", "0.5.23")
BGE = Target(model="BAAI/bge-reranker-v2-m3", task="rerank", architecture="xlm-roberta", classifies=True)
EVERYTHING = ServeOptions(
    host="0.0.0.0",  # noqa: S104 a setting, nothing listens
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


@pytest.mark.parametrize(
    "options", [ServeOptions(), ServeOptions(device="cpu"), EVERYTHING], ids=["plain", "cpu", "all"]
)
@pytest.mark.parametrize(
    "target",
    [resolve("Qwen/Qwen3-Embedding-4B"), resolve("Qwen/Qwen3-Reranker-8B"), resolve("mxbai-embed-large"), BGE],
    ids=lambda target: target.model,
)
def test_every_option_is_one_of_sglangs(target: Target, options: ServeOptions, sglang_options: frozenset[str]) -> None:
    assert set(flags(build(target, NEWEST, options))) <= sglang_options


def test_an_embedding_model_embeds() -> None:
    chosen = flags(build(resolve("Qwen/Qwen3-Embedding-0.6B"), NEWEST, ServeOptions()))
    assert "--is-embedding" in chosen
    assert json.loads(chosen["--json-model-override-args"] or "") == {"is_matryoshka": True}
    assert "--disable-radix-cache" in chosen
    assert chosen["--chunked-prefill-size"] == "-1"
    assert chosen["--max-prefill-tokens"] == "32768"
    assert "--chat-template" not in chosen


def test_a_reranker_that_answers_does_not_embed() -> None:
    chosen = flags(build(resolve("Qwen/Qwen3-Reranker-0.6B"), NEWEST, ServeOptions()))
    assert "--is-embedding" not in chosen
    assert "--disable-radix-cache" not in chosen
    assert chosen["--schedule-policy"] == "lpm"
    assert Path(chosen["--chat-template"] or "").read_text(encoding="utf-8").startswith("<|im_start|>system")


def test_a_text_is_no_longer_than_the_room_for_it() -> None:
    # SGLang queues for ever what fits its context and not its pool.
    assert flags(build(resolve("Qwen/Qwen3-Reranker-8B"), NEWEST, ServeOptions()))["--context-length"] == "8192"
    assert "--context-length" not in flags(build(resolve("mxbai-embed-large"), NEWEST, ServeOptions()))


def test_a_cross_encoder_is_read_like_an_embedding() -> None:
    chosen = flags(build(BGE, NEWEST, ServeOptions()))
    assert "--is-embedding" in chosen
    assert chosen["--attention-backend"] == "triton"
    assert "--json-model-override-args" not in chosen


def test_a_model_that_nobody_trained_to_be_cut_is_not_cut() -> None:
    target = Target(model="m", task="embed", architecture="qwen3", pooling="last")
    assert "--json-model-override-args" not in flags(build(target, NEWEST, ServeOptions()))


def test_every_setting_that_is_not_plain_has_a_reason() -> None:
    for model in ("Qwen/Qwen3-Embedding-0.6B", "Qwen/Qwen3-Reranker-0.6B", "mxbai-embed-large"):
        command = build(resolve(model), NEWEST, ServeOptions(replicas=2))
        plain = {"--model-path", "--host", "--port"}
        assert [flag.name for flag in command.flags if not flag.reason and flag.name not in plain] == []


def test_the_callers_choices_are_taken() -> None:
    chosen = flags(build(resolve("Qwen/Qwen3-Embedding-0.6B"), NEWEST, EVERYTHING))
    wanted = {
        "--host": "0.0.0.0",  # noqa: S104 nothing listens
        "--dp-size": "2",
        "--mem-fraction-static": "0.5",
        "--dtype": "float16",
        "--context-length": "4096",
        "--revision": "main",
        "--served-model-name": "name",
        "--api-key": "KEY",
        "--max-prefill-tokens": "16384",
    }
    assert {name: chosen[name] for name in wanted} == wanted


def test_copies_behind_a_router_are_plain_servers() -> None:
    assert "--dp-size" not in flags(build(BGE, NEWEST, ServeOptions(replicas=2, router=True)))


def test_a_cpu_is_asked_for_before_sglang_is_imported() -> None:
    command = build(resolve("Qwen/Qwen3-Embedding-0.6B"), NEWEST, ServeOptions(device="cpu"))
    assert command.environment == {"SGLANG_USE_CPU_ENGINE": "1"}
    chosen = flags(command)
    assert (chosen["--device"], chosen["--attention-backend"], chosen["--dtype"]) == ("cpu", "torch_native", "float32")
    assert int(chosen["--max-total-tokens"] or 0) >= 32768


@pytest.mark.parametrize(("kernels", "amx", "chosen"), [(True, True, "intel_amx"), (False, True, "torch_native")])
def test_amx_is_used_where_its_kernels_are_installed(*, kernels: bool, amx: bool, chosen: str) -> None:
    engine = replace(NEWEST, cpu_kernels=kernels)
    command = build(resolve("Qwen/Qwen3-Embedding-0.6B"), engine, ServeOptions(device="cpu", amx=amx))
    assert flags(command)["--attention-backend"] == chosen


def test_before_0_5_5_there_was_no_serve() -> None:
    target = resolve("Qwen/Qwen3-Embedding-0.6B")
    assert build(target, Engine("sglang", "0.5.4.post1", "py"), ServeOptions()).program == (
        "py",
        "-m",
        "sglang.launch_server",
    )
    assert build(target, NEWEST, ServeOptions()).program == ("sglang", "serve")


@pytest.mark.parametrize(
    ("model", "version", "message"),
    [
        ("Qwen/Qwen3-Embedding-0.6B", "0.5.0rc2", "older than what this package knows"),
        ("Qwen/Qwen3-Reranker-0.6B", "0.5.7", r"0\.5\.8 is the first that can"),
        ("jinaai/jina-embeddings-v2-base-en", "0.5.23", "no JinaBERT.*text-embeddings-router"),
        ("mixedbread-ai/mxbai-rerank-base-v1", "0.5.23", r"no DeBERTa.*Reranker\.local"),
        ("mixedbread-ai/mxbai-rerank-base-v2", "0.5.23", "--engine vllm"),
        ("mixedbread-ai/mxbai-embed-xsmall-v1", "0.5.23", r"pool.*'mean'.*--engine vllm.*Embedder\.local"),
    ],
)
def test_what_sglang_cannot_serve_rightly_is_refused(model: str, version: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        build(resolve(model), Engine("sglang", version, "python"), ServeOptions())


def folder_of(class_name: str, family: str, pooling: Pooling | None, **options: Any) -> Target:
    return Target(model="m", task="embed", architecture=family, class_name=class_name, pooling=pooling, **options)


@pytest.mark.parametrize(
    ("class_name", "family", "pools"),
    [
        ("BertModel", "bert", "cls"),
        ("Contriever", "bert", "cls"),
        ("XLMRobertaModel", "xlm-roberta", "cls"),
        ("RobertaModel", "roberta", "last"),
        ("Gemma3TextModel", "embeddinggemma", "mean"),
        ("Qwen3ForCausalLM", "qwen3", "last"),
        ("MistralModel", "mistral", "last"),
    ],
)
def test_a_model_is_taken_by_how_its_own_class_pools(class_name: str, family: str, pools: Pooling) -> None:
    assert "--is-embedding" in flags(build(folder_of(class_name, family, pools), NEWEST, ServeOptions()))
    other: Pooling = "last" if pools != "last" else "mean"
    with pytest.raises(InvalidInputError, match=f"would pool this model by '{pools}', and it wants '{other}'"):
        build(folder_of(class_name, family, other), NEWEST, ServeOptions())


def test_embeddinggemma_is_read_in_both_directions_and_comes_with_its_dense_layers() -> None:
    target = folder_of("Gemma3TextModel", "embeddinggemma", "mean", projects=True)
    assert flags(build(target, NEWEST, ServeOptions()))["--attention-backend"] == "triton"


def test_embeddinggemma_on_a_cpu_would_be_read_in_one_direction() -> None:
    with pytest.raises(InvalidInputError, match=r"reads it in one direction.*--engine vllm"):
        build(folder_of("Gemma3TextModel", "embeddinggemma", "mean"), NEWEST, ServeOptions(device="cpu"))


def test_embeddinggemma_before_its_class_is_not_promised() -> None:
    with pytest.raises(InvalidInputError, match=r"not known; 0\.5\.23 does.*--engine vllm"):
        build(folder_of("Gemma3TextModel", "embeddinggemma", "mean"), Engine("sglang", "0.5.22", "py"), ServeOptions())


def test_a_dense_layer_that_sglang_leaves_out_is_a_refusal() -> None:
    with pytest.raises(InvalidInputError, match=r"a dense layer follows its pooling.*--engine vllm"):
        build(folder_of("BertModel", "bert", "cls", projects=True), NEWEST, ServeOptions())


@pytest.mark.parametrize("task", ["embed", "rerank"])
def test_attention_of_a_model_that_is_not_known_goes_both_ways(task: Task) -> None:
    chosen = flags(build(Target(model="someone/unknown", task=task), NEWEST, ServeOptions()))
    assert chosen["--attention-backend"] == "triton"
