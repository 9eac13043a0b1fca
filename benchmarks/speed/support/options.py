"""The options that scripts share, and what they set up. argparse, so that a bare machine needs nothing more."""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers

from qwen_embed_integrations.errors import InvalidInputError
from qwen_embed_integrations.local.device import choose_dtype
from support.machine import physical_cores
from support.texts import Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

DTYPES = ("auto", "bfloat16", "float16", "float32")
_SHORTEST = 4  # special tokens and a word
_MEMORY = Path("/dev/shm")  # noqa: S108 a fresh folder is made in it
_ROOM = 20 * 2**30


@dataclass(frozen=True)
class Compute:
    """Where and in which precision all contenders compute."""

    device: torch.device
    dtype: torch.dtype

    @property
    def on_card(self) -> bool:
        """Whether it is a GPU."""
        return self.device.type == "cuda"

    @property
    def dtype_name(self) -> str:
        """The precision by its name, such as `"bfloat16"`."""
        return str(self.dtype).removeprefix("torch.")


def parser_of(description: str | None, *, rounds: int = 3, row_seconds: float = 60) -> argparse.ArgumentParser:
    """Return a parser with the options of every script; the description's first line is its help."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--rounds", type=at_least_one, default=rounds, help="runs of each contender that count")
    parser.add_argument(
        "--row-seconds",
        type=above_zero,
        default=row_seconds,
        help="what a row may take: the search of the batch size gets half of it, and rounds end before it is exceeded",
    )
    parser.add_argument("--output", type=Path, help="where to write the figures as JSON")
    return parser


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the scripts that run models."""
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where all contenders compute")
    parser.add_argument("--dtype", choices=DTYPES, default="auto", help="number format of everything")
    parser.add_argument(
        "--shape", type=config_changes, default={}, metavar="JSON", help="changes of the config.json of made models"
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights and texts")
    parser.add_argument("--folder", type=Path, help="where checkpoints are made; 16 GB for an 8B model")


def set_up(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Compute:
    """Quieten the libraries, take all cores, and return where to compute; a choice that cannot be ends the script."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    progress: Any = transformers.utils.logging
    progress.disable_progress_bar()
    torch.set_num_threads(physical_cores())
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("argument --device: cuda needs a CUDA GPU, and torch sees none; try --device cpu")
    device = torch.device(options.device)
    try:
        dtype = choose_dtype(options.dtype, device)
    except InvalidInputError as error:
        parser.error(f"argument --dtype: {error}")
    if options.folder is None and device.type == "cuda" and _MEMORY.is_dir():
        # A card's checkpoints are large, and memory is faster than a disk.
        options.folder = _MEMORY if shutil.disk_usage(_MEMORY).free > _ROOM else None
    return Compute(device, dtype)


def command_line(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> str:
    """Return the command as it was given, for the record."""
    return " ".join(["python", Path(parser.prog).name, *(sys.argv[1:] if arguments is None else arguments)])


def at_least_one(text: str) -> int:
    """Read a whole number above 0."""
    number = _number(int, text)
    if number is None or number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of 1 or more")
    return int(number)


def above_zero(text: str) -> float:
    """Read a number above 0."""
    number = _number(float, text)
    if number is None or not number > 0:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number above 0")
    return number


def not_negative(text: str) -> float:
    """Read a number that is not below 0."""
    number = _number(float, text)
    if number is None or not number >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} must be 0 or more")
    return number


def _number(kind: Callable[[str], float], text: str) -> float | None:
    try:
        return kind(text)
    except ValueError:
        return None


def batch_sizes(text: str) -> list[int]:
    """Read batch sizes with commas between them, in ascending order."""
    sizes = sorted({at_least_one(size) for size in text.split(",")})
    return [*sizes]


def names_of(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a reader of names with commas between them."""

    def read(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)!r} is none of {', '.join(known)}")
        return names

    return read


def lengths(text: str) -> Workload:
    """Read SHORTEST:LONGEST as a workload of documents of so many tokens."""
    shortest, _, longest = text.partition(":")
    if not (shortest.isdecimal() and longest.isdecimal() and _SHORTEST <= int(shortest) <= int(longest)):
        raise argparse.ArgumentTypeError(f"{text!r} must be SHORTEST:LONGEST in tokens, {_SHORTEST} or more")
    return Workload(f"{shortest}-{longest}", "document", int(shortest), int(longest))


def config_changes(text: str) -> dict[str, Any]:
    """Read changes of a config.json."""
    try:
        config = json.loads(text)
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise argparse.ArgumentTypeError(f'{text!r} must be a JSON object, such as {{"num_hidden_layers": 6}}')
    return config
