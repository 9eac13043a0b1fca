"""Weights into memory, and proof that all of them arrived."""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from qwen_embed_integrations.errors import ModelLoadError
from qwen_embed_integrations.local.checkpoint.fit import require_room, too_large
from qwen_embed_integrations.local.checkpoint.weights import StoredWeights
from qwen_embed_integrations.local.device import describe_device, describe_dtype, ran_out
from qwen_embed_integrations.local.forward.cpu_layers import fuse
from qwen_embed_integrations.local.forward.cpu_linear import FastLinear, PrepackedLinear, linear_layers_for
from qwen_embed_integrations.local.forward.packed import attention_for, runs_packed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles

logger = logging.getLogger(__name__)

# Weights between the first embedding and the last layer; heads that are not run may stand outside.
_INSIDE = re.compile(r"(^|\.)(embeddings|layers?|h|block)\.")
# What reading raises where files are not what transformers expects, or a package that they need is missing.
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    AttributeError,
    TypeError,
    ImportError,
    RuntimeError,
    MemoryError,
    SafetensorError,
)
_HARMLESS = ("position_ids", "token_type_ids", "inv_freq", "masked_bias", "attn.bias")


def load_model(
    auto_class: Any,
    files: CheckpointFiles,
    *,
    device: torch.device,
    dtype: torch.dtype,
    packs: bool = True,
    unused: tuple[str, ...] = (),
    heads: tuple[str, ...] = (),
) -> PreTrainedModel:
    """Load a checkpoint with one of transformers' auto classes.

    Args:
        auto_class: Such as `AutoModel`.
        files: The checkpoint.
        device: Where to put it.
        dtype: Precision of the weights.
        packs: Whether the caller lays sequences end to end, where the architecture allows it.
        unused: Beginnings of the names of weights that are never run; their absence changes nothing.
        heads: Beginnings of the names of weights that `auto_class` has no place for, and that are not read.

    Raises:
        ModelLoadError: If the model does not fit, or weights are missing, so that part of it would be random.
    """
    options: dict[str, Any] = {
        "dtype": dtype,
        "local_files_only": True,
        "trust_remote_code": False,
        "use_safetensors": True,
        "output_loading_info": True,
    }
    attention = attention_for(files.config)
    if packs and attention is not None:
        options["attn_implementation"] = attention
    try:
        weights = StoredWeights(files, heads)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ModelLoadError(f"`model` {files.name!r} could not be loaded: {error}") from error
    require_room(files.name, weights, device, dtype)
    quantized = "quantization_config" in files.config  # how it is read and computed is left to transformers
    try:
        with _no_progress_bars():
            # Prepacked weights are not mapped, or all would be in memory twice.
            linear = linear_layers_for(dtype) if device.type == "cpu" and not quantized else None
            mapped = quantized or not (weights.dtypes - {dtype} or linear is PrepackedLinear)
            model, report = _read(auto_class, files, weights, options, mapped=mapped)
        _require_all(files, model, report, unused)
        loaded: PreTrainedModel = model.to(device).eval().requires_grad_(requires_grad=False)
        parameters = sum(parameter.numel() for parameter in loaded.parameters())
        if linear is not None:
            fuse(loaded.base_model, linear)
    except _UNREADABLE as error:
        if ran_out(error):
            raise too_large(files.name, weights, device, dtype) from error
        raise ModelLoadError(f"`model` {files.name!r} could not be loaded: {error}") from error
    logger.info(
        "%s: %s, %.3g million parameters, on %s in %s; %s",
        files.name,
        type(model).__name__,
        parameters / 1e6,
        describe_device(device),
        describe_dtype(dtype, device),
        kernels_of(loaded),
    )
    return loaded


def kernels_of(model: PreTrainedModel) -> str:
    """Return in words what a loaded model's attention and linear layers are computed by.

    Like the vectors, it follows from the model, the hardware and the precision, and from nothing else.
    """
    attention = "packed attention" if runs_packed(model) else "padded, transformers' own attention"
    layers = next((layer for layer in model.modules() if isinstance(layer, FastLinear)), None)
    if layers is None:
        return f"{attention}; linear layers as loaded"
    if isinstance(layers, PrepackedLinear):
        return f"{attention}; linear layers prepacked for oneDNN"
    mkl: bool = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]  # torch gives no type
    return f"{attention}; linear layers plain{' (MKL)' if mkl and model.dtype == torch.float32 else ''}"


def _read(
    auto_class: Any, files: CheckpointFiles, weights: StoredWeights, options: dict[str, Any], *, mapped: bool
) -> tuple[Any, Any]:
    if mapped:
        # Mapped from the files: nothing is read before it is used, and processes share it.
        return cast("tuple[Any, Any]", auto_class.from_pretrained(files.folder, **options))
    # Left to transformers, a conversion has all of the files in memory beside its result.
    read = dict(weights.converted(options["dtype"]))
    if issubclass(auto_class, PreTrainedModel):
        return cast("tuple[Any, Any]", auto_class.from_pretrained(files.folder, state_dict=read, **options))
    config = AutoConfig.from_pretrained(files.folder, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        model_class = type(auto_class.from_config(config))  # it takes no memory there
    return cast("tuple[Any, Any]", model_class.from_pretrained(None, config=config, state_dict=read, **options))


def _require_all(files: CheckpointFiles, model: PreTrainedModel, report: Any, unused: tuple[str, ...]) -> None:
    unexpected = [key for key in report["unexpected_keys"] if _INSIDE.search(key) and not key.endswith(_HARMLESS)]
    if unexpected:
        raise ModelLoadError(
            f"`model` {files.name!r} holds weights that a {type(model).__name__} has no place for "
            f"({', '.join(sorted(unexpected)[:5])}, …): it is of another architecture, and would give wrong numbers."
        )
    missing = [key for key in report["missing_keys"] if not key.startswith(unused)]
    wrong = [str(key) for key in report.get("mismatched_keys", ())]
    if missing or wrong:
        lost = sorted([*missing, *wrong])
        raise ModelLoadError(
            f"`model` {files.name!r} does not hold all weights of a {type(model).__name__}: {len(lost)} are missing or "
            f"of another shape ({', '.join(lost[:5])}, …). They would be random; is this the right checkpoint?"
        )


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
