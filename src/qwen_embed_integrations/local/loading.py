"""Weights into memory, and proof that all of them arrived."""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from qwen_embed_integrations.errors import ModelLoadError
from qwen_embed_integrations.local.packing import attention_for
from qwen_embed_integrations.local.prepacked import prepack

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from transformers import PreTrainedModel

    from qwen_embed_integrations.local.files import CheckpointFiles

logger = logging.getLogger(__name__)

# Weights between the first embedding and the last layer; heads that are not run may stand outside.
_INSIDE = re.compile(r"(^|\.)(embeddings|layers?|h|block)\.")
_HARMLESS = ("position_ids", "token_type_ids", "inv_freq", "masked_bias", "attn.bias")


def load_model(
    auto_class: Any,
    files: CheckpointFiles,
    *,
    device: torch.device,
    dtype: torch.dtype,
    packs: bool = True,
    unused: tuple[str, ...] = (),
) -> PreTrainedModel:
    """Load a checkpoint with one of transformers' auto classes.

    Args:
        auto_class: Such as `AutoModel`.
        files: The checkpoint.
        device: Where to put it.
        dtype: Precision of the weights.
        packs: Whether the caller lays sequences end to end, where the architecture allows it.
        unused: Beginnings of the names of weights that are never run; their absence changes nothing.

    Raises:
        ModelLoadError: If weights are missing, so that part of the model would be random.
    """
    options: dict[str, Any] = {}
    attention = attention_for(files.config)
    if packs and attention is not None:
        options["attn_implementation"] = attention
    try:
        with _no_progress_bars():
            model, report = auto_class.from_pretrained(
                files.folder,
                dtype=dtype,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                **options,
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelLoadError(f"`model` {files.name!r} could not be loaded: {error}") from error
    strange = [key for key in report["unexpected_keys"] if _INSIDE.search(key) and not key.endswith(_HARMLESS)]
    if strange:
        raise ModelLoadError(
            f"`model` {files.name!r} holds weights that a {type(model).__name__} has no place for "
            f"({', '.join(sorted(strange)[:5])}, …): it is of another architecture, and would give wrong numbers."
        )
    missing = [key for key in report["missing_keys"] if not key.startswith(unused)]
    wrong = [str(key) for key in report.get("mismatched_keys", ())]
    if missing or wrong:
        lost = sorted([*missing, *wrong])
        raise ModelLoadError(
            f"`model` {files.name!r} does not hold all weights of a {type(model).__name__}: {len(lost)} are missing or "
            f"of another shape ({', '.join(lost[:5])}, …). They would be random; is this the right checkpoint?"
        )
    logger.info("%s: %s on %s in %s", files.name, type(model).__name__, device, str(dtype).removeprefix("torch."))
    loaded: PreTrainedModel = model.to(device).eval().requires_grad_(requires_grad=False)
    prepack(loaded.base_model)
    return loaded


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    # A library that loads a model in somebody's application prints nothing.
    bars: Any = transformers_logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()
