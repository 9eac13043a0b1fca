"""The interface through which a run reports its progress."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Is told what a run is doing."""

    def stage(self, text: str, *, total: int | None = None, timed: bool = False) -> None:
        """Start a stage.

        Args:
            text: What is being done.
            total: How many steps it has, where they are counted.
            timed: Whether it is being timed, so that nothing else should use the processor.
        """
        ...

    def advance(self) -> None:
        """Finish one step of the stage."""
        ...


class Silent:
    """Shows nothing."""

    def stage(self, text: str, *, total: int | None = None, timed: bool = False) -> None:
        """Start a stage."""

    def advance(self) -> None:
        """Finish one step of the stage."""
