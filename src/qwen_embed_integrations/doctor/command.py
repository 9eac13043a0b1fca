"""The command `qwen-embed doctor`."""

# No `from __future__ import annotations`: typer reads the annotations of functions.
from typing import Annotated, Literal

import typer

from qwen_embed_integrations.api_keys import read_key
from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.server_info import DialectName


def doctor(
    url: Annotated[str, typer.Argument(help="The server, such as http://localhost:30000/v1.")],
    *,
    model: Annotated[
        str | None,
        typer.Option(
            help="What the model is, where the server's name for it does not tell: Qwen/Qwen3-Embedding-0.6B."
        ),
    ] = None,
    task: Annotated[
        Literal["embed", "rerank"] | None, typer.Option(help="What the server is for. The default finds out.")
    ] = None,
    api_key_env: Annotated[str | None, typer.Option(help="Environment variable with the server's API key.")] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="Folder or hub id of the same checkpoint: compare with it in this process (local extra)."),
    ] = None,
    dialect: Annotated[
        Literal["auto", DialectName], typer.Option(help="What the server is, where it is not recognised.")
    ] = "auto",
    load: Annotated[bool, typer.Option("--load/--no-load", help="Measure latency and throughput too.")] = True,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for one reply.", min=1)] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print all findings as JSON.")] = False,
) -> None:
    """Find out whether a running server gives right vectors or scores.

    The exit status is 0 if all is well, 1 if there are warnings, and 2 if something is wrong or cannot be reached.
    """
    # Loaded here, since the other commands must start fast.
    from rich.console import Console  # noqa: PLC0415

    from qwen_embed_integrations.doctor.findings import exit_status  # noqa: PLC0415
    from qwen_embed_integrations.doctor.report import as_json as written  # noqa: PLC0415
    from qwen_embed_integrations.doctor.report import print_report  # noqa: PLC0415
    from qwen_embed_integrations.doctor.run import examine  # noqa: PLC0415 loads openai

    progress = Console(stderr=True)
    try:
        examination = examine(
            url,
            model=model,
            task=task,
            api_key=read_key(api_key_env),
            compare_with=reference,
            with_load=load,
            dialect=dialect,
            timeout=timeout,
        )
        findings = []
        with progress.status(f"Examining {url} ...") as status:
            for finding in examination:
                findings.append(finding)
                status.update(f"Examining {url}: {finding.code} ...")
    except InvalidInputError as error:
        typer.echo(f"qwen-embed: {error}", err=True)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(written(url, findings))
    else:
        print_report(url, findings, Console(highlight=False))
    raise typer.Exit(exit_status(findings))
