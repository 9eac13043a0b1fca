"""The command `qwen-embed serve`: options in, a running server out."""

# No `from __future__ import annotations`: typer reads the annotations.
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from qwen_embed_integrations.api_keys import read_key
from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.serve.assumptions import assumption_warning
from qwen_embed_integrations.serve.client_snippet import client_snippet
from qwen_embed_integrations.serve.engines.installed import NEWEST, TITLES, Engine, find_engine
from qwen_embed_integrations.serve.hardware import Gpu, find_gpus, free_ram, has_amx
from qwen_embed_integrations.serve.memory import require_room
from qwen_embed_integrations.serve.options import ServeOptions
from qwen_embed_integrations.serve.plan import plan_service
from qwen_embed_integrations.serve.ports import is_loopback, require_free, root_url
from qwen_embed_integrations.serve.process.child import Output
from qwen_embed_integrations.serve.process.launch import ServiceEndedError, run
from qwen_embed_integrations.serve.service import Service
from qwen_embed_integrations.serve.target import Target, resolve

_GIB = 1024**3
_SHOWN_LINES = 20


def serve(
    *,
    model: Annotated[str, typer.Argument(help="A hub id, a known model's short name, or a folder.")],
    extra: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- OPTIONS]", help="Options for the engine itself; they win.", show_default=False),
    ] = None,
    engine: Annotated[Literal["sglang", "vllm"], typer.Option(help="What serves the model.")] = "sglang",
    python: Annotated[
        str | None,
        typer.Option(help="Interpreter that has the engine, where that is not this one or the one on the PATH."),
    ] = None,
    task: Annotated[
        Literal["embed", "rerank"] | None, typer.Option(help="What an unknown model is for.", show_default=False)
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="Known model that an unknown one was made from.", show_default=False)
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for the whole network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 30000,
    replicas: Annotated[int, typer.Option(help="Copies of the model, one on each GPU.", min=1)] = 1,
    router: Annotated[
        bool,
        typer.Option("--router/--no-router", help="Make each copy a server of its own, on the ports that follow."),
    ] = False,
    device: Annotated[Literal["auto", "cpu"], typer.Option(help="'cpu' serves without a GPU, slowly.")] = "auto",
    memory_fraction: Annotated[
        float | None,
        typer.Option(help="Share of the device's memory. The default is what the model needs.", min=0.01, max=1.0),
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="Number format. The default is the checkpoint's.")] = None,
    context_length: Annotated[
        int | None, typer.Option(help="Most tokens of a text. The default is the model's.", min=1)
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.")] = None,
    served_model_name: Annotated[str | None, typer.Option(help="Name that clients know the model by.")] = None,
    api_key_env: Annotated[
        str | None, typer.Option(help="Environment variable with the key that clients must send.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds until the server must be ready.", min=1)] = 1800,
    log: Annotated[
        Path | None, typer.Option(help="File for the engine's own lines, which else go to stderr.", dir_okay=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the command and why, and start nothing.")] = False,
) -> None:
    """Serve a model with SGLang or vLLM, started the way the model wants."""
    target = resolve(model, task=task, profile=profile, revision=revision)
    read_key(api_key_env, must_be_set=not dry_run)
    installed, gpus = find_engine(engine, python), find_gpus()
    if not dry_run:
        _require(installed, engine, gpus, target, device)
    memory = _memory(gpus, device)
    options = ServeOptions(
        host=host,
        port=port,
        replicas=replicas,
        router=router,
        device=device,
        memory_fraction=memory_fraction,
        dtype=dtype,
        context_length=context_length,
        revision=revision,
        served_model_name=served_model_name,
        api_key_env=api_key_env,
        amx=has_amx(),
        **memory,
    )
    used = installed or Engine(engine, NEWEST[engine])
    service = plan_service(target, used, options, gpus=gpus, extra=extra or ())
    _explain(service, used, options, is_installed=installed is not None, gpus=gpus, reasons=dry_run)
    if doubt := assumption_warning(target, engine, root_url(host, port)):
        _say(f"WARNING: {doubt}")
    if memory:
        try:
            require_room(target, options, extra or ())
        except InvalidInputError as error:
            if not dry_run:
                raise
            _say(f"WARNING: {error}")
    if dry_run:
        _print_commands(service)
        return
    _run(service, target, options, timeout=timeout, log=log)


def _require(installed: Engine | None, engine: str, gpus: tuple[Gpu, ...], target: Target, device: str) -> None:
    title = TITLES["sglang" if engine == "sglang" else "vllm"]
    missing = []
    if installed is None:
        missing.append(f"{title} is not installed (pip install {engine}, best in an environment of its own: --python)")
    if not gpus and device != "cpu":
        missing.append("no GPU was found (--device cpu serves without one, slowly)")
    if missing:
        local = target.local_classes
        instead = f" In this process, without a server: {local}." if local else ""
        raise InvalidInputError(f"{' and '.join(missing)}.{instead}", parameter="engine")


def _memory(gpus: tuple[Gpu, ...], device: str) -> dict[str, int]:
    """Return free and total bytes of the smallest device; nothing where they cannot be read."""
    if device == "cpu":
        ram = free_ram()
        return {} if ram is None else {"free": ram, "total": ram}
    known = [(gpu.free, gpu.total) for gpu in gpus if gpu.free is not None and gpu.total is not None]
    if not known:
        return {}
    return {"free": min(free for free, _ in known), "total": min(total for _, total in known)}


def _say(text: str) -> None:
    typer.echo(f"qwen-embed: {text}", err=True)


def _explain(
    service: Service, engine: Engine, options: ServeOptions, *, is_installed: bool, gpus: tuple[Gpu, ...], reasons: bool
) -> None:
    if not is_installed:
        _say(f"{TITLES[engine.name]} is not installed here; this is for {engine.version}.")
    elif engine.unversioned:
        _say(f"{engine.title} was built from source and tells no version; it is taken for {NEWEST[engine.name]}.")
    if options.device != "cpu" and options.memory_fraction is None and not any(gpu.total for gpu in gpus):
        why = "the memory of the GPU cannot be read" if gpus else "no GPU was found here"
        _say(f"{why}; memory is worked out for one of {options.total // _GIB} GiB (--memory-fraction sets it).")
    for name in service.replaced_flags:
        _say(f"your {name} replaces the one chosen here.")
    if not is_loopback(options.host) and options.api_key_env is None:
        _say(
            f"WARNING: --host {options.host} lets the whole network use this server, and no key is asked for. "
            "Set one with --api-key-env."
        )
    if reasons:
        for reason in dict.fromkeys(reason for process in service.processes for reason in process.command.reasons):
            typer.echo(f"# {reason}", err=True)


def _print_commands(service: Service) -> None:
    is_terminal = sys.stdout.isatty()
    for process in service.processes[:-1]:
        typer.echo(f"{process.command.shell(lines=is_terminal)} &")
    typer.echo(service.front.command.shell(lines=is_terminal))


def _open_log(log: Path | None) -> Any:
    if log is None:
        return nullcontext(sys.stderr)
    try:
        return log.open("w", encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"`--log` {log} cannot be written: {error.strerror}.", parameter="log") from error


def _run(service: Service, target: Target, options: ServeOptions, *, timeout: float, log: Path | None) -> None:
    url = root_url(options.host, options.port)
    name = options.served_model_name or target.model

    def ready(seconds: float) -> None:
        _say(f"ready after {seconds:.0f} s at {url}; Ctrl-C ends it.")
        snippet = client_snippet(target, served_name=name, url=url, api_key_env=options.api_key_env)
        typer.echo(f"\n{snippet}\n\n# check it: qwen-embed doctor {url}")
        sys.stdout.flush()

    secrets = [secret for process in service.processes for secret in process.command.extra_secrets]
    if options.api_key_env:
        secrets.append(os.environ[options.api_key_env])
    require_free(service.addresses, port=options.port)
    with _open_log(log) as stream:
        for process in service.processes:
            _say(f"starting {process.label or name}: {process.command.shell()}")
        try:
            run(service, Output(stream, secrets), timeout=timeout, ready=ready)
        except (KeyboardInterrupt, SystemExit):
            _say("ended, with all that it started.")
            raise
        except ServiceEndedError as error:
            if log is not None:
                for line in error.tail[-_SHOWN_LINES:]:
                    typer.echo(line, err=True)
            raise
