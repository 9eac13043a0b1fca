"""Stands in for SGLang's compiled kernels, which PyPI has for CUDA only: imported by name, called by no test."""

from __future__ import annotations

from typing import NoReturn

__version__ = "0.0.0"


def __getattr__(name: str) -> object:
    if name.startswith("__"):
        raise AttributeError(name)

    def missing(*_: object, **__: object) -> NoReturn:
        raise NotImplementedError(f"sgl_kernel.{name} was called, but only a stand-in is installed")

    return missing
