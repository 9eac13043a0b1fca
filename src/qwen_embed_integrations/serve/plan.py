"""Which processes serve a model: one server, or several worker_options a router."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.serve.command_line import Command, Flag, with_extra
from qwen_embed_integrations.serve.engines import sglang, vllm
from qwen_embed_integrations.serve.ports import LOOPBACK
from qwen_embed_integrations.serve.service import Process, Service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_embed_integrations.serve.engines.installed import Engine
    from qwen_embed_integrations.serve.hardware import Gpu
    from qwen_embed_integrations.serve.options import ServeOptions
    from qwen_embed_integrations.serve.target import Target

_LAST_PORT = 65535


def plan_service(
    target: Target, engine: Engine, options: ServeOptions, *, gpus: Sequence[Gpu] = (), extra: Sequence[str] = ()
) -> Service:
    """Decide which processes to start.

    Args:
        target: What is served.
        engine: What serves it.
        options: What the caller chose.
        gpus: GPUs to spread copies over; empty where they are not known.
        extra: The caller's own options for the engine.

    Returns:
        The service, to be started.

    Raises:
        InvalidInputError: If options do not go together.
    """
    _check(target, engine, options, gpus)
    build = sglang.build if engine.name == "sglang" else vllm.build
    if not options.router:
        command, replaced = with_extra(build(target, engine, options), extra)
        return Service((Process("", command, options.host, options.port),), tuple(replaced))
    processes = []
    replaced = []
    for number in range(1, options.replicas + 1):
        worker_options = replace(options, host=LOOPBACK, port=options.port + number)
        command, replaced = with_extra(build(target, engine, worker_options), extra)
        if options.device != "cpu":
            index = gpus[number - 1].index if gpus else str(number - 1)
            command = replace(command, environment={**command.environment, "CUDA_VISIBLE_DEVICES": index})
        processes.append(Process(str(number), command, worker_options.host, worker_options.port))
    metrics = options.port + options.replicas + 1
    router = _router(engine, options, [process.port for process in processes], metrics)
    # Its /health is always well; this one counts the workers.
    processes.append(Process("router", router, options.host, options.port, "/readiness", metrics))
    return Service(tuple(processes), tuple(replaced))


def _check(target: Target, engine: Engine, options: ServeOptions, gpus: Sequence[Gpu]) -> None:
    on_cpu = options.device == "cpu"
    if options.router:
        if engine.name != "sglang":
            raise InvalidInputError(
                "`--router` is SGLang's; vLLM spreads work over its replicas by itself. Leave it out.",
                parameter="router",
            )
        if target.prompted is not None:
            raise InvalidInputError(
                "`--router` would lose the instruction of every rerank call: sglang-router does not pass `instruct` "
                "on. Use --replicas without --router.",
                parameter="router",
            )
        if options.port + options.replicas + 1 > _LAST_PORT:
            raise InvalidInputError(
                f"`--port` {options.port} leaves no room for {options.replicas} more behind it.", parameter="port"
            )
    elif options.replicas > 1 and on_cpu:
        use = "Add --router to start one process each." if engine.name == "sglang" else "Use one."
        raise InvalidInputError(
            f"`--replicas` {options.replicas} in one server is a copy on each GPU, which a CPU does not have. {use}",
            parameter="replicas",
        )
    if gpus and not on_cpu and options.replicas > len(gpus):
        raise InvalidInputError(
            f"`--replicas` is {options.replicas}, but {len(gpus)} "
            f"{'GPU is' if len(gpus) == 1 else 'GPUs are'} visible: each copy needs its own.",
            parameter="replicas",
        )


def _router(engine: Engine, options: ServeOptions, ports: list[int], metrics: int) -> Command:
    if engine.python is not None and not engine.router:
        raise InvalidInputError(
            "`--router` needs sglang-router, which is not installed. "
            f"Run: {engine.python} -m pip install sglang-router",
            parameter="router",
        )
    first, *others = [f"http://{LOOPBACK}:{port}" for port in ports]
    flags = [
        Flag("--worker-urls", first),
        *(Flag(url) for url in others),  # one option, many values
        Flag("--policy", "round_robin", "its default sends texts that look alike to one worker"),
        Flag("--host", options.host),
        Flag("--port", str(options.port)),
        Flag("--prometheus-host", LOOPBACK, "it would listen to the whole network"),
        Flag("--prometheus-port", str(metrics), "of its own, beside other routers'"),
    ]
    if options.api_key_env:
        flags.append(Flag("--api-key", options.api_key_env, secret=True))
    return Command(engine.router or ("python", "-m", "sglang_router.launch_router"), tuple(flags))
