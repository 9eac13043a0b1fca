"""Which processes a service consists of: one server, or several behind a router."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.serve.command_line import Command, Flag, with_extra
from qwen_embed_integrations.serve.engines import sglang, vllm
from qwen_embed_integrations.serve.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_embed_integrations.serve.engines.installed import Engine
    from qwen_embed_integrations.serve.hardware import Gpu
    from qwen_embed_integrations.serve.options import Settings
    from qwen_embed_integrations.serve.target import Target

_LAST_PORT = 65535


@dataclass(frozen=True)
class Process:
    """One process of a service.

    Attributes:
        label: What its lines are marked with; empty where it is the only one.
        command: How it is started.
        host: Where it listens.
        port: Where it listens.
        ready: Path that answers 200 when it is ready.
        metrics_port: Second port that it takes, on loopback; None where it takes none.
    """

    label: str
    command: Command
    host: str
    port: int
    ready: str = "/health"  # SGLang's runs a forward pass, so that a server that answers can compute
    metrics_port: int | None = None


@dataclass(frozen=True)
class Plan:
    """The processes of a service, in the order they are started, and flags that gave way to the caller's own."""

    processes: tuple[Process, ...]
    gave_way: tuple[str, ...]

    @property
    def front(self) -> Process:
        """The process that clients speak to."""
        return self.processes[-1]


def make_plan(
    target: Target, engine: Engine, settings: Settings, *, gpus: Sequence[Gpu] = (), extra: Sequence[str] = ()
) -> Plan:
    """Decide which processes to start.

    Args:
        target: What is served.
        engine: What serves it.
        settings: What the caller chose.
        gpus: GPUs to spread copies over; empty where they are not known.
        extra: The caller's own options for the engine.

    Returns:
        The plan.

    Raises:
        InvalidInputError: If settings do not go together.
    """
    _check(target, engine, settings, gpus)
    build = sglang.build if engine.name == "sglang" else vllm.build
    if not settings.router:
        command, gave_way = with_extra(build(target, engine, settings), extra)
        return Plan((Process("", command, settings.host, settings.port),), tuple(gave_way))
    processes = []
    gave_way = []
    for number in range(1, settings.replicas + 1):
        behind = replace(settings, host=LOOPBACK, port=settings.port + number)
        command, gave_way = with_extra(build(target, engine, behind), extra)
        if settings.device != "cpu":
            index = gpus[number - 1].index if gpus else str(number - 1)
            command = replace(command, environment={**command.environment, "CUDA_VISIBLE_DEVICES": index})
        processes.append(Process(str(number), command, behind.host, behind.port))
    metrics = settings.port + settings.replicas + 1
    router = _router(engine, settings, [process.port for process in processes], metrics)
    # Its /health is always well; this one counts the workers.
    processes.append(Process("router", router, settings.host, settings.port, "/readiness", metrics))
    return Plan(tuple(processes), tuple(gave_way))


def _check(target: Target, engine: Engine, settings: Settings, gpus: Sequence[Gpu]) -> None:
    on_cpu = settings.device == "cpu"
    if settings.router:
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
        if settings.port + settings.replicas + 1 > _LAST_PORT:
            raise InvalidInputError(
                f"`--port` {settings.port} leaves no room for {settings.replicas} more behind it.", parameter="port"
            )
    elif settings.replicas > 1 and on_cpu:
        use = "Add --router to start one process each." if engine.name == "sglang" else "Use one."
        raise InvalidInputError(
            f"`--replicas` {settings.replicas} in one server is a copy on each GPU, which a CPU does not have. {use}",
            parameter="replicas",
        )
    if gpus and not on_cpu and settings.replicas > len(gpus):
        raise InvalidInputError(
            f"`--replicas` is {settings.replicas}, but {len(gpus)} "
            f"{'GPU is' if len(gpus) == 1 else 'GPUs are'} visible: each copy needs its own.",
            parameter="replicas",
        )


def _router(engine: Engine, settings: Settings, ports: list[int], metrics: int) -> Command:
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
        Flag("--host", settings.host),
        Flag("--port", str(settings.port)),
        Flag("--prometheus-host", LOOPBACK, "it would listen to the whole network"),
        Flag("--prometheus-port", str(metrics), "of its own, beside other routers'"),
    ]
    if settings.api_key_env:
        flags.append(Flag("--api-key", settings.api_key_env, secret=True))
    return Command(engine.router or ("python", "-m", "sglang_router.launch_router"), tuple(flags))
