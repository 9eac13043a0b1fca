"""What a server says about itself beyond what every client needs; believed only until it is tried."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_embed_integrations.served.dialects.base import text, texts

if TYPE_CHECKING:
    from qwen_embed_integrations.served.dialects.base import Dialect
    from qwen_embed_integrations.served.dialects.examination import SelfReport
    from qwen_embed_integrations.served.flow import Flow
    from qwen_embed_integrations.served.questions import Questions


def gather(questions: Questions, dialect: Dialect) -> Flow[SelfReport]:
    """Ask what there is to know; what is not answered stays unknown.

    Args:
        questions: To the server.
        dialect: What it was recognised as.

    Returns:
        What the dialect knows to ask, and what the list of models and the model's own folder tell.
    """
    yield from questions.hint("/v1/models")  # remembered, so that this costs a server without the route no patience
    listed = yield from questions.listed()
    report = yield from dialect.examination.report(questions)
    model_path = report.model_path or text(listed.get("root")) or text(listed.get("id"))
    folder = folder_of(model_path)
    return replace(
        report,
        served_name=text(listed.get("id")),
        model_path=model_path,
        architectures=report.architectures or texts(_config(folder).get("architectures")),
    )


def folder_of(model_path: str | None) -> Path | None:
    """Return the folder a server loaded its model from, where that is on this machine."""
    try:
        folder = Path(model_path) if model_path else None
        return folder if folder and (folder / "config.json").is_file() else None
    except (OSError, ValueError):
        return None


def _config(folder: Path | None) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8")) if folder else {}
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}
