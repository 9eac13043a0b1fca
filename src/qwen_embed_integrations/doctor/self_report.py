"""What a server says about itself beyond what every client needs; believed only until it is tried."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_embed_integrations.served.dialects.base import text, whole

if TYPE_CHECKING:
    from qwen_embed_integrations.served.flow import Flow
    from qwen_embed_integrations.served.questions import Questions


@dataclass(frozen=True)
class Facts:
    """What a server says about itself; None where it does not say.

    Attributes:
        served_name: The name requests call the model by.
        root: The model behind that name, where it is an alias (vLLM).
        architectures: Classes in the model's configuration.
        generates: Whether SGLang runs it as a text generator, which Qwen3-Reranker needs.
        room: Tokens that fit into its memory at once.
        cuts: Whether it says that it cuts texts that are too long.
        quantized: How the weights are quantized.
        folder: The model's folder, where that is on this machine.
    """

    served_name: str | None = None
    root: str | None = None
    architectures: tuple[str, ...] = ()
    generates: bool | None = None
    room: int | None = None
    cuts: bool | None = None
    quantized: str | None = None
    folder: Path | None = None


def gather(questions: Questions, kind: str) -> Flow[Facts]:
    """Ask what there is to know; what is not answered stays unknown.

    Args:
        questions: To the server.
        kind: What it was recognised as.
    """
    listed = yield from questions.hint("/v1/models")
    entries = listed.get("data")
    first = entries[0] if isinstance(entries, list) and entries and isinstance(entries[0], dict) else {}
    model: dict[str, Any] = {}
    # This one holds SGLang's whole command line, keys included: single fields are taken, the rest is dropped.
    started: dict[str, Any] = {}
    if kind in {"sglang", "sglang_router"}:
        for path in ("/model_info", "/get_model_info"):
            model = model or (yield from questions.hint(path))
        for path in ("/server_info", "/get_server_info") if kind == "sglang" else ():
            started = started or (yield from questions.hint(path))
    elif kind == "tei":
        started = yield from questions.hint("/info")
    folder = _folder(text(model.get("model_path")) or text(first.get("root")) or text(first.get("id")))
    cuts = started.get("allow_auto_truncate", started.get("auto_truncate"))
    generates = model.get("is_generation")
    return Facts(
        served_name=text(first.get("id")),
        root=text(first.get("root")) if kind == "vllm" else None,
        architectures=_names(model.get("architectures")) or _names(_config(folder).get("architectures")),
        generates=generates if isinstance(generates, bool) else None,
        room=whole(started.get("max_total_num_tokens")),
        cuts=cuts if isinstance(cuts, bool) else None,
        quantized=text(started.get("quantization")),
        folder=folder,
    )


def _folder(model: str | None) -> Path | None:
    try:
        folder = Path(model) if model else None
        return folder if folder and (folder / "config.json").is_file() else None
    except (OSError, ValueError):
        return None


def _config(folder: Path | None) -> dict[str, Any]:
    try:
        said = json.loads((folder / "config.json").read_text(encoding="utf-8")) if folder else {}
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _names(value: Any) -> tuple[str, ...]:
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, list) else ()
