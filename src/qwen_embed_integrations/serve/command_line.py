"""A command that starts a server: its flags, the reason for each, and its form for a shell."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from qwen_embed_integrations.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What decides where the server answers and what it serves, and the option of this command that sets it.
_RESERVED = {
    "--host": "--host",
    "--port": "--port",
    "--model": "MODEL",
    "--model-path": "MODEL",
    "--api-key": "--api-key-env",
    "--served-model-name": "--served-model-name",
}
_DASHES = len("--")
# Beginnings of the engines' options whose values are secret, and of those that turn on TLS.
_SECRET = ("--adm", "--hf-t")
_TLS = ("--ss", "--enable-ss")


@dataclass(frozen=True)
class Flag:
    """One option of an engine.

    Attributes:
        name: As it is written, `--port`.
        value: What follows it; None for a switch.
        reason: Why it is there; empty where it speaks for itself.
        secret: Whether `value` names an environment variable that holds the value, which is shown nowhere.
    """

    name: str
    value: str | None = None
    reason: str = ""
    secret: bool = False


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        program: What is run, before any flag.
        flags: Options that were chosen here.
        environment: Variables it is given on top of those that are set.
        secrets: Variables it is given, by the names of the variables that hold their values.
        extra: Options from the caller, passed as they are.
    """

    program: tuple[str, ...]
    flags: tuple[Flag, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    extra: tuple[str, ...] = ()

    def argv(self, variables: Mapping[str, str]) -> list[str]:
        """Return what to execute.

        Args:
            variables: The environment, for the values of secret flags.

        Returns:
            Program and arguments.
        """
        words = list(self.program)
        for flag in self.flags:
            words.append(flag.name)
            if flag.value is not None:
                words.append(variables[flag.value] if flag.secret else flag.value)
        return [*words, *self.extra]

    def variables(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return the whole environment to execute it in.

        Args:
            variables: The environment as it is.

        Returns:
            That, with what the command adds.
        """
        return {**variables, **self.environment, **{name: variables[value] for name, value in self.secrets.items()}}

    def shell(self, *, lines: bool = False) -> str:
        """Return the command as a shell reads it, with the names of secrets in place of them.

        Args:
            lines: Whether each option stands on a line of its own.

        Returns:
            One command.
        """
        parts = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        parts += [f'{name}="${value}"' for name, value in self.secrets.items()]
        parts.append(shlex.join(self.program))
        for flag in self.flags:
            value = "" if flag.value is None else f'"${flag.value}"' if flag.secret else shlex.quote(flag.value)
            parts.append(f"{flag.name} {value}".rstrip())
        parts += [_without_secrets(part) for part in _options(self.extra)]
        return (" \\\n  " if lines else " ").join(parts)

    @property
    def extra_secrets(self) -> list[str]:
        """Secret values among the caller's own options."""
        return [secret for part in _options(self.extra) for secret in _secrets(part)]

    @property
    def reasons(self) -> list[str]:
        """What is worth knowing about the flags, a line each."""
        return [f"{flag.name}: {flag.reason}" for flag in self.flags if flag.reason]


def with_extra(command: Command, extra: Sequence[str]) -> tuple[Command, list[str]]:
    """Add the caller's own options, which win.

    Args:
        command: What was chosen here.
        extra: Words for the engine.

    Returns:
        The command, and the names of flags that they replace.

    Raises:
        InvalidInputError: If an option would move the server away from where it is expected, or is no option.
    """
    if extra and not extra[0].startswith("-"):
        raise InvalidInputError(
            f"`{extra[0]}` is one argument too many; options for the engine go behind `--` and begin with a dash.",
            parameter="extra",
        )
    given = {_name(part[0]) for part in _options(extra)}
    for name in sorted(given):
        if name.startswith(_TLS):
            raise InvalidInputError(
                f"`{name}` was given behind `--`, but servers started here speak plain HTTP: leave it out, and put a "
                "proxy that ends TLS in front (nginx, Caddy).",
                parameter="extra",
            )
        # The engines' parsers take any beginning of an option's name.
        matches = (option for option in _RESERVED if len(name) > _DASHES and option.startswith(name))
        reserved = name if name in _RESERVED else next(matches, None)
        if reserved is not None:
            raise InvalidInputError(
                f"`{name}` was given behind `--`, where this command cannot see it; "
                f"use {_RESERVED[reserved]} before it.",
                parameter="extra",
            )
    replaced = [flag.name for flag in command.flags if flag.name in given]
    kept = tuple(flag for flag in command.flags if flag.name not in given)
    return replace(command, flags=kept, extra=tuple(extra)), replaced


def _options(words: Sequence[str]) -> list[list[str]]:
    """Split words before each option."""
    parts: list[list[str]] = []
    for word in words:
        if word.startswith("--") or not parts:
            parts.append([word])
        else:
            parts[-1].append(word)
    return parts


def _name(word: str) -> str:
    return word.partition("=")[0].replace("_", "-")


def _secrets(part: Sequence[str]) -> list[str]:
    """Return the secret values of an option."""
    if not _name(part[0]).startswith(_SECRET):
        return []
    _, sign, value = part[0].partition("=")
    return [value] if sign else list(part[1:])


def _without_secrets(part: Sequence[str]) -> str:
    """Return an option as a shell reads it, without its secrets."""
    if not _secrets(part):
        return shlex.join(part)
    name, sign, _ = part[0].partition("=")
    return f"{name}{sign or ' '}***"
