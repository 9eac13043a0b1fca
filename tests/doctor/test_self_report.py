from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

import pytest

from qwen_embed_integrations.doctor.self_report import folder_of, gather
from qwen_embed_integrations.served.dialects import DIALECTS
from qwen_embed_integrations.served.dialects.examination import SelfReport
from qwen_embed_integrations.served.questions import Questions
from qwen_embed_integrations.server_info import Kind

if TYPE_CHECKING:
    from pathlib import Path

MODELS = {"data": [{"id": "mine", "root": "org/model", "owned_by": "x"}]}
MODEL_INFO = {"model_path": "org/model", "architectures": ["Qwen3ForCausalLM"], "is_generation": False}


def gathered(kind: Kind, replies: dict[str, Any]) -> SelfReport:
    """Answer the questions that are asked of a server, by their paths; {} where there is no answer."""
    asking = gather(Questions("http://h"), DIALECTS[kind])
    try:
        request = next(asking)
        while True:
            reply = replies.get(request.path.removeprefix("http://h"), {})
            request = asking.send(json.dumps(reply).encode())
    except StopIteration as done:
        report: SelfReport = done.value
        return report


def test_sglang_tells_how_it_was_started_and_nothing_of_its_key() -> None:
    started = {"max_total_num_tokens": 300, "allow_auto_truncate": True, "quantization": "fp8", "api_key": "sk-secret"}
    report = gathered("sglang", {"/v1/models": MODELS, "/model_info": MODEL_INFO, "/server_info": started})
    assert report == SelfReport(
        served_name="mine",
        model_path="org/model",
        architectures=("Qwen3ForCausalLM",),
        generates=False,
        memory_tokens=300,
        cuts_texts=True,
        quantization="fp8",
    )


def test_an_older_sglang_is_asked_at_the_older_paths() -> None:
    report = gathered("sglang", {"/get_model_info": MODEL_INFO, "/get_server_info": {"max_total_num_tokens": 300}})
    assert (report.model_path, report.memory_tokens) == ("org/model", 300)


def test_the_router_tells_of_its_workers_model_alone() -> None:
    report = gathered("sglang_router", {"/get_model_info": MODEL_INFO | {"is_generation": True}})
    assert report == SelfReport(model_path="org/model", architectures=("Qwen3ForCausalLM",), generates=True)


def test_vllm_tells_the_model_behind_an_alias() -> None:
    report = gathered("vllm", {"/v1/models": MODELS})
    assert report == SelfReport(served_name="mine", root="org/model", model_path="org/model")


def test_the_root_of_others_is_no_alias() -> None:
    assert gathered("lm_studio", {"/v1/models": MODELS}).root is None


@pytest.mark.parametrize("cuts", [True, False])
def test_tei_tells_whether_it_cuts(*, cuts: bool) -> None:
    assert gathered("tei", {"/info": {"auto_truncate": cuts}}).cuts_texts is cuts


@pytest.mark.parametrize("kind", ["ollama", "llama_cpp"])
def test_what_serves_gguf_files_serves_quantized_ones_as_a_rule(kind: Kind) -> None:
    assert gathered(kind, {}).quantization == "GGUF"


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("odd", [None, 3, "x", [], [3], {"x": 3}, True])
def test_no_answer_however_odd_breaks_the_asking(kind: Kind, odd: Any) -> None:
    fields = ["model_path", "architectures", "is_generation", "max_total_num_tokens", "auto_truncate", "data"]
    reply = dict.fromkeys(fields, odd)
    paths = ["/v1/models", "/model_info", "/get_model_info", "/server_info", "/get_server_info", "/info"]
    assert isinstance(gathered(kind, dict.fromkeys(paths, reply)), SelfReport)


def test_a_folder_on_this_machine_tells_the_architectures_that_the_server_does_not(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"]}', encoding="utf-8")
    assert folder_of(str(tmp_path)) == tmp_path
    report = gathered("vllm", {"/v1/models": {"data": [{"id": "mine", "root": str(tmp_path)}]}})
    assert report.architectures == ("BertModel",)


def test_a_config_that_cannot_be_read_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    assert gathered("vllm", {"/v1/models": {"data": [{"id": str(tmp_path)}]}}).architectures == ()


@pytest.mark.parametrize("path", [None, "", "org/model", "a\0b", "x" * 10_000])
def test_what_is_no_folder_here_is_none(path: str | None) -> None:
    assert folder_of(path) is None
