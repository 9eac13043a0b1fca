"""Imports of optional dependencies that say which extra to install."""

from __future__ import annotations

import importlib
from typing import Any

from qwen_embed_integrations.errors import MissingExtraError


def require(module: str, *, extra: str | None) -> Any:
    """Import a module that an optional extra brings.

    Args:
        module: Dotted name of the module.
        extra: Name of the extra in this package's metadata; None where the module is installed by its own name.

    Returns:
        The imported module.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        wanted = f"'qwen-embed-integrations[{extra}]'" if extra else missing
        raise MissingExtraError(f"`{missing}` is not installed. Run: pip install {wanted}", name=missing) from error


def require_local() -> None:
    """Check that what local models need is installed.

    Raises:
        MissingExtraError: If it is not.
    """
    for module in ("torch", "transformers", "safetensors"):
        require(module, extra="local")
