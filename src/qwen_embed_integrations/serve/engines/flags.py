"""Flags that both engines take, but for their names and reasons."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from qwen_embed_integrations.serve.command_line import Flag
from qwen_embed_integrations.serve.memory import longest_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_embed_integrations.serve.options import ServeOptions
    from qwen_embed_integrations.serve.target import Target

MATRYOSHKA = {"is_matryoshka": True}
"""What a model's config is to say whose vectors may be cut."""
MATRYOSHKA_REASON = "its vectors may be cut, which its config.json does not say; without this `dimensions` is a 400"


def model_flags(target: Target, options: ServeOptions, *, length_flag: str, float32_reason: str = "") -> Iterator[Flag]:
    """Yield the flags that say which model is read, by which name, how much of a text, and in which format.

    Args:
        target: What is served.
        options: What the caller chose.
        length_flag: The engine's name for the longest text.
        float32_reason: Why a CPU computes in float32.

    Yields:
        The flags.
    """
    if options.served_model_name:
        yield Flag("--served-model-name", options.served_model_name)
    if options.revision:
        yield Flag("--revision", options.revision)
    if length := longest_text(target, options):
        yield Flag(length_flag, str(length), "memory is worked out for it; longer texts are refused")
    if options.dtype:
        yield Flag("--dtype", options.dtype)
    elif options.device == "cpu":
        yield Flag("--dtype", "float32", float32_reason)


def address_flags(options: ServeOptions) -> Iterator[Flag]:
    """Yield the flags that say where the server listens."""
    yield Flag("--host", options.host)
    yield Flag("--port", str(options.port))


def template_path(name: str) -> str:
    """Return the path of a chat template that comes with this package."""
    return str(resources.files("qwen_embed_integrations.serve") / "templates" / name)
