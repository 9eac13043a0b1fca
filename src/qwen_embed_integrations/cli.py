"""The command line, `qwen-embed`."""

# No `from __future__ import annotations`: typer reads the annotations of functions made inside another function.
import importlib.metadata
import io
import json
import os
import signal
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from qwen_embed_integrations import interrupts
from qwen_embed_integrations.errors import QwenEmbedError
from qwen_embed_integrations.extras import require
from qwen_embed_integrations.profiles import PROFILES, ModelProfile, RerankProfile

if TYPE_CHECKING:
    import typer
    from rich.console import Console
    from rich.table import Table

_WIDE = 100  # columns from which a table fits with whole names


def main() -> None:
    """Run `qwen-embed`; an error of this package is one line on stderr and exit status 1, Ctrl-C is status 130."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None without a console, anything where a program replaced it
            stream.reconfigure(errors="replace")  # not every console can write an arrow or a model's name
    try:
        with interrupts.noted(*interrupts.not_ignored(signal.SIGINT)):
            build_app()(prog_name="qwen-embed")
    except KeyboardInterrupt:
        sys.exit(interrupts.SHELL_STATUS + signal.SIGINT)
    except QwenEmbedError as error:
        sys.stderr.write(f"qwen-embed: {' '.join(str(error).splitlines())}\n")
        sys.exit(1)


def build_app() -> "typer.Typer":
    """Build the commands.

    Returns:
        The typer app.

    Raises:
        MissingExtraError: If typer is not installed.
    """
    require("typer", extra="cli")
    import typer  # noqa: PLC0415 may be missing

    # These import typer.
    from qwen_embed_integrations.benchmark.command import bench  # noqa: PLC0415
    from qwen_embed_integrations.doctor.command import doctor  # noqa: PLC0415
    from qwen_embed_integrations.serve.command import serve  # noqa: PLC0415

    app = typer.Typer(
        help="Qwen3, mxbai and Jina embeddings and rerankers: what the models want, how to serve them, and how well "
        "they retrieve.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def show_version(wanted: Any) -> None:
        if wanted:
            typer.echo(f"qwen-embed {importlib.metadata.version('qwen-embed-integrations')}")
            raise typer.Exit

    @app.callback()
    def options(
        *,
        version: Annotated[
            bool, typer.Option("--version", help="Print the version and exit.", callback=show_version, is_eager=True)
        ] = False,
    ) -> None:
        """Read the options that stand before a command."""

    @app.command()
    def models(
        *,
        as_json: Annotated[
            bool, typer.Option("--json", help="Print everything that is known, with sources, for machines.")
        ] = False,
    ) -> None:
        """List the models that have a profile."""
        if as_json:
            typer.echo(json.dumps([_describe(profile) for profile in PROFILES], indent=2))
        else:
            _print_tables()

    app.command()(bench)
    app.command()(serve)
    app.command()(doctor)
    return app


def _describe(profile: ModelProfile | RerankProfile) -> dict[str, Any]:
    kind = "embedding" if isinstance(profile, ModelProfile) else "reranker"
    return {"kind": kind, **asdict(profile), "takes_instruction": profile.takes_instruction}


def _print_tables() -> None:
    require("rich", extra="cli")
    from rich.console import Console  # noqa: PLC0415 may be missing

    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 1000  # a file has no width: one line a model, to be searched
    for kind, title in ((ModelProfile, "Embedding models"), (RerankProfile, "Rerankers")):
        table = _table(title, [profile for profile in PROFILES if isinstance(profile, kind)], console)
        console.print(table)
        console.print()
    console.print("All that is known, with sources: qwen-embed models --json")


def _table(title: str, profiles: list[ModelProfile | RerankProfile], console: "Console") -> "Table":
    from rich import box  # noqa: PLC0415 may be missing
    from rich.table import Table  # noqa: PLC0415 may be missing

    narrow = console.width < _WIDE
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 0 if narrow else 1),
    )
    table.add_column("name", overflow="fold", no_wrap=not narrow)
    if isinstance(profiles[0], ModelProfile):
        table.add_column("dimensions", overflow="fold", max_width=10 if narrow else None)
    table.add_column("max\ntokens", justify="right", no_wrap=True)
    table.add_column("takes\ninstruction", no_wrap=True)
    table.add_column("weights", justify="right", no_wrap=True)
    table.add_column("licence", no_wrap=True)
    for profile in profiles:
        # On a narrow terminal a name breaks behind its owner: the rest is a name this package knows too.
        table.add_row(
            profile.name.replace("/", "/\n") if narrow else profile.name,
            *([_sizes(profile)] if isinstance(profile, ModelProfile) else []),
            str(profile.max_tokens or "-"),
            "yes" if profile.takes_instruction else "no",
            _count(profile.parameters),
            profile.license or "-",
        )
    return table


def _sizes(profile: ModelProfile) -> str:
    if profile.listed_dimensions:
        others = (str(size) for size in profile.listed_dimensions if size != profile.dimensions)
        return f"{profile.dimensions} or {', '.join(others)}"
    return f"{profile.min_dimensions} to {profile.dimensions}" if profile.min_dimensions else str(profile.dimensions)


def _count(parameters: int | None) -> str:
    if parameters is None:
        return "-"
    return f"{parameters / 1e9:.1f}B" if parameters >= 1e9 else f"{parameters / 1e6:.0f}M"  # noqa: PLR2004 a billion


if __name__ == "__main__":
    main()
