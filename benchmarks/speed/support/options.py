"""What the scripts' options take."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import torch
import transformers
import typer
from rich.console import Console

from qwen_embed_integrations.local.device import choose_dtype
from support.clock import physical_cores
from support.texts import Workload

if TYPE_CHECKING:
    from collections.abc import Callable

DTYPES = ("auto", "bfloat16", "float32")


def set_up(dtype: str) -> torch.dtype:
    """Make libraries quiet and take all cores.

    Args:
        dtype: One of `DTYPES`.

    Returns:
        The precision to compute in.

    Raises:
        BadParameter: If `dtype` is none of them.
    """
    if dtype not in DTYPES:
        raise typer.BadParameter(f"{dtype!r} is none of {', '.join(DTYPES)}", param_hint="--dtype")
    logging.disable(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(physical_cores())
    return choose_dtype(dtype, torch.device("cpu"))


def wide_console() -> Console:
    """Return a console that is wide enough for the tables where it is a file."""
    console = Console()
    if not console.is_terminal:
        console.width = 120
    return console


def batch_sizes(listed: str) -> list[int]:
    """Read a list of batch sizes.

    Raises:
        BadParameter: If it is none.
    """
    try:
        sizes = sorted({int(size) for size in listed.split(",")})
    except ValueError:
        sizes = []
    if not sizes or sizes[0] < 1:
        raise typer.BadParameter(f"{listed!r} must be whole numbers above 0 with commas between them")
    return sizes


def chosen_from(known: dict[str, Any]) -> Callable[[str], list[Any]]:
    """Return a reader of names with commas between them."""

    def read(listed: str) -> list[Any]:
        names = listed.split(",")
        strange = [name for name in names if name not in known]
        if strange:
            raise typer.BadParameter(f"{', '.join(strange)!r} is none of {', '.join(known)}")
        return [known[name] for name in names]

    return read


def lengths(said: str) -> Workload:
    """Read a range of lengths as a workload of documents.

    Raises:
        BadParameter: If it is none.
    """
    try:
        shortest, longest = map(int, said.split(":"))
    except ValueError:
        shortest = longest = 0
    if not 4 <= shortest <= longest:  # noqa: PLR2004 special tokens and a word
        raise typer.BadParameter(f"{said!r} must be SHORTEST:LONGEST in tokens, 4 at least")
    return Workload(f"{shortest}-{longest}", "document", shortest, longest)


def sizes_of(said: str) -> dict[str, Any]:
    """Read changes of a config.

    Raises:
        BadParameter: If it is no JSON object.
    """
    try:
        config = json.loads(said)
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise typer.BadParameter(f'{said!r} must be a JSON object, such as {{"num_hidden_layers": 6}}')
    return config
