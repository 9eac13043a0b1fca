"""Flags that both engines take, but for their names and reasons."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from qwen_embed_integrations.serve.command_line import Flag
from qwen_embed_integrations.serve.memory import longest_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_embed_integrations.serve.options import Settings
    from qwen_embed_integrations.serve.target import Target

MATRYOSHKA = {"is_matryoshka": True}
"""What a model's config is to say whose vectors may be cut."""
MATRYOSHKA_REASON = "its vectors may be cut, which its config.json does not say; without this `dimensions` is a 400"


def model_flags(target: Target, settings: Settings, *, length_flag: str, float32_reason: str = "") -> Iterator[Flag]:
    """Yield the flags that say which model is read, by which name, how much of a text, and in which format.

    Args:
        target: What is served.
        settings: What the caller chose.
        length_flag: The engine's name for the longest text.
        float32_reason: Why a CPU computes in float32.

    Yields:
        The flags.
    """
    if settings.served_model_name:
        yield Flag("--served-model-name", settings.served_model_name)
    if settings.revision:
        yield Flag("--revision", settings.revision)
    if length := longest_text(target, settings):
        yield Flag(length_flag, str(length), "memory is worked out for it; longer texts are refused")
    if settings.dtype:
        yield Flag("--dtype", settings.dtype)
    elif settings.device == "cpu":
        yield Flag("--dtype", "float32", float32_reason)


def address_flags(settings: Settings) -> Iterator[Flag]:
    """Yield the flags that say where the server listens."""
    yield Flag("--host", settings.host)
    yield Flag("--port", str(settings.port))


def template_path(name: str) -> str:
    """Return the path of a chat template that comes with this package."""
    return str(resources.files("qwen_embed_integrations.serve") / "templates" / name)
