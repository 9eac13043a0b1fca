"""The API key of a command: its environment variable is named on the command line, the key itself nowhere."""

from __future__ import annotations

import os

from qwen_embed_integrations.errors import InvalidInputError


def read_key(variable: str | None, *, must_be_set: bool = True) -> str | None:
    """Read the key that `--api-key-env` names.

    Args:
        variable: Name of the environment variable; None for no key.
        must_be_set: Whether a variable that is not set is an error.

    Returns:
        The key; None without one.

    Raises:
        InvalidInputError: If `variable` is no name of a variable, or the variable is not set.
    """
    if variable is None:
        return None
    if not (variable.isascii() and variable.isidentifier()):  # not repeated, since it may be the key itself
        raise InvalidInputError(
            "`--api-key-env` takes the name of an environment variable: letters, digits and underscores.",
            parameter="api_key_env",
        )
    key = os.environ.get(variable)
    if not key and must_be_set:
        raise InvalidInputError(f"`--api-key-env` names {variable}, which is not set.", parameter="api_key_env")
    return key or None
