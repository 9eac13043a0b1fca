from __future__ import annotations

from pathlib import Path

from qwen_embed_integrations.serve.engines.flags import address_flags, model_flags, template_path
from qwen_embed_integrations.serve.options import ServeOptions
from qwen_embed_integrations.serve.target import resolve

TARGET = resolve("Qwen/Qwen3-Embedding-0.6B")


def words(options: ServeOptions) -> list[str]:
    return [f"{flag.name} {flag.value}" for flag in model_flags(TARGET, options, length_flag="--length")]


def test_a_model_is_read_to_its_own_length_in_its_own_format() -> None:
    assert words(ServeOptions()) == ["--length 32768"]


def test_a_cpu_computes_in_float32_unless_told_otherwise() -> None:
    assert words(ServeOptions(device="cpu"))[-1] == "--dtype float32"
    assert words(ServeOptions(device="cpu", dtype="bfloat16"))[-1] == "--dtype bfloat16"


def test_what_the_caller_chose_is_passed_on() -> None:
    chosen = ServeOptions(served_model_name="mine", revision="main", context_length=512, dtype="float16")
    assert words(chosen) == ["--served-model-name mine", "--revision main", "--length 512", "--dtype float16"]


def test_a_server_listens_where_it_is_told_to() -> None:
    assert [flag.value for flag in address_flags(ServeOptions(host="::1", port=7))] == ["::1", "7"]


def test_templates_come_with_the_package() -> None:
    assert Path(template_path("qwen3_reranker.jinja")).is_file()
