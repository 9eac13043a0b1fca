from __future__ import annotations

import pytest

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.serve.engines.installed import Engine
from qwen_embed_integrations.serve.hardware import Gpu
from qwen_embed_integrations.serve.options import ServeOptions
from qwen_embed_integrations.serve.plan import plan_service
from qwen_embed_integrations.serve.target import resolve

EMBEDDER, RERANKER = resolve("Qwen/Qwen3-Embedding-0.6B"), resolve("Qwen/Qwen3-Reranker-0.6B")
SGLANG, VLLM = Engine("sglang", "0.5.23"), Engine("vllm", "0.32.0")
ROUTED = ServeOptions(port=40000, replicas=2, router=True, host="0.0.0.0", api_key_env="KEY")  # noqa: S104 nothing listens


def test_one_server_is_one_process() -> None:
    service = plan_service(EMBEDDER, SGLANG, ServeOptions())
    assert [process.ready for process in service.processes] == ["/health"]


def test_behind_a_router_each_copy_has_a_port_and_a_gpu_of_its_own() -> None:
    service = plan_service(EMBEDDER, SGLANG, ROUTED, gpus=[Gpu("3"), Gpu("5")])
    *workers, router = service.processes
    assert [worker.port for worker in workers] == [40001, 40002]
    assert [worker.command.environment["CUDA_VISIBLE_DEVICES"] for worker in workers] == ["3", "5"]
    assert (router.port, router.ready, router.metrics_port) == (40000, "/readiness", 40003)


def test_only_the_router_listens_to_others() -> None:
    *workers, router = plan_service(EMBEDDER, SGLANG, ROUTED).processes
    assert {worker.host for worker in workers} == {"127.0.0.1"}
    words = router.command.argv({"KEY": "hush"})
    assert words[words.index("--host") + 1] == "0.0.0.0"  # noqa: S104 nothing listens
    assert words[words.index("--prometheus-host") + 1] == "127.0.0.1"
    assert words[words.index("--policy") + 1] == "round_robin"
    at = words.index("--worker-urls")
    assert words[at + 1 : at + 3] == ["http://127.0.0.1:40001", "http://127.0.0.1:40002"]


def test_router_and_workers_ask_for_the_key() -> None:
    for process in plan_service(EMBEDDER, SGLANG, ROUTED).processes:
        assert '--api-key "$KEY"' in process.command.shell()


def test_the_callers_options_reach_every_copy_and_not_the_router() -> None:
    service = plan_service(EMBEDDER, SGLANG, ROUTED, extra=["--max-total-tokens", "8192", "--disable-radix-cache"])
    assert [bool(process.command.extra) for process in service.processes] == [True, True, False]
    assert service.replaced_flags == ("--disable-radix-cache",)


@pytest.mark.parametrize(
    ("target", "engine", "options", "gpus", "message"),
    [
        (RERANKER, SGLANG, ServeOptions(replicas=2, router=True), [], "does not pass `instruct` on"),
        (EMBEDDER, VLLM, ServeOptions(replicas=2, router=True), [], "vLLM spreads work"),
        (EMBEDDER, SGLANG, ServeOptions(replicas=3), [Gpu("0"), Gpu("1")], "2 GPUs are visible"),
        (EMBEDDER, SGLANG, ServeOptions(replicas=2, device="cpu"), [], "Add --router"),
        (EMBEDDER, SGLANG, ServeOptions(port=65534, replicas=2, router=True), [], "leaves no room"),
        (
            EMBEDDER,
            Engine("sglang", "0.5.23", "py"),
            ServeOptions(replicas=2, router=True),
            [],
            "install sglang-router",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    target: object, engine: Engine, options: ServeOptions, gpus: list[Gpu], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        plan_service(target, engine, options, gpus=gpus)  # type: ignore[arg-type]
