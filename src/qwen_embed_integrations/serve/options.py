"""What the caller of `qwen-embed serve` chose, and what the machine has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Device = Literal["auto", "cpu"]


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """ServeOptions of one server.

    Attributes:
        host: Address to listen on.
        port: Port to listen on.
        replicas: Copies of the model.
        router: Whether the copies are processes of their own behind sglang-router.
        device: `"auto"` for GPUs, `"cpu"`.
        memory_fraction: Share of the device's memory; None to work it out.
        dtype: Number format; None for the checkpoint's own.
        context_length: Most tokens of one text; None for the model's own.
        revision: Branch, tag or commit on the hub.
        served_model_name: Name the server gives the model; None for what it loads.
        api_key_env: Environment variable with the key that clients must send.
        free: Bytes of memory that are free on the device.
        total: Bytes of memory that the device has.
        amx: Whether the CPU has AMX.
    """

    host: str = "127.0.0.1"
    port: int = 30000
    replicas: int = 1
    router: bool = False
    device: Device = "auto"
    memory_fraction: float | None = None
    dtype: str | None = None
    context_length: int | None = None
    revision: str | None = None
    served_model_name: str | None = None
    api_key_env: str | None = None
    free: int = 24 * 1024**3  # an A10, L4, 3090 or 4090
    total: int = 24 * 1024**3
    amx: bool = False

    @property
    def bytes_per_number(self) -> int:
        """2, or 4 where it computes in float32."""
        return 4 if (self.dtype or ("float32" if self.device == "cpu" else "")).startswith("float32") else 2
