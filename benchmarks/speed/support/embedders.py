"""This package's embedder and its peers, each loaded from the same checkpoint in the same precision."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from qwen_embed_integrations import Embedder
from support import compiled
from support.options import Compute
from support.padded import PaddedJinaBert, PaddedTransformers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from support.shapes import Shape
    from support.texts import Texts

PEERS = ("sentence-transformers", "padded", "openvino", "openvino-streams", "onnx")
# In float32 the reference takes twice the bytes of a bfloat16 checkpoint, and some for what it computes.
_REFERENCE_ROOM = 2.4


class Engine(Protocol):
    """Something that embeds.

    Attributes:
        name: What to call it.
    """

    name: str

    def embed(self, texts: Texts, batch: int | None) -> np.ndarray:
        """Return unit vectors of shape `(n, dimensions)`, in order."""

    def close(self) -> None:
        """Free the model."""


class Ours:
    """`Embedder.local`.

    Attributes:
        name: What to call it.
        embedder: The embedder.
    """

    def __init__(self, folder: Path, compute: Compute, *, token_budget: int | None = None) -> None:
        self.name = "Embedder.local" if token_budget is None else f"Embedder.local, {token_budget} a pass"
        self.embedder = Embedder.local(
            folder, device=compute.device.type, dtype=compute.dtype_name, token_budget=token_budget
        )

    def embed(self, texts: Texts, batch: int | None) -> np.ndarray:  # noqa: ARG002 it packs by tokens
        """Return unit vectors of shape `(n, dimensions)`, in order.

        Raises:
            AssertionError: If another number of tokens was computed than the texts have.
        """
        before = self.embedder.usage.tokens
        embed = self.embedder.embed_queries if texts.role == "query" else self.embedder.embed_documents
        vectors = embed(texts.texts)
        if (computed := self.embedder.usage.tokens - before) != texts.tokens:
            raise AssertionError(f"{computed} tokens were computed where the texts have {texts.tokens}")
        return vectors

    def close(self) -> None:
        """Free the model."""
        self.embedder.close()


class SentenceTransformers:
    """sentence-transformers on torch, with its own choice of attention."""

    def __init__(self, folder: Path, compute: Compute) -> None:
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415 missing on a bare machine

        self.name = "sentence-transformers"
        self._model: Any = SentenceTransformer(
            str(folder), device=compute.device.type, model_kwargs={"dtype": compute.dtype}, local_files_only=True
        )

    def embed(self, texts: Texts, batch: int | None) -> np.ndarray:
        """Return unit vectors of shape `(n, dimensions)`, in order."""
        encode = self._model.encode_query if texts.role == "query" else self._model.encode_document
        return np.asarray(encode(texts.texts, batch_size=batch or 32, show_progress_bar=False))

    def close(self) -> None:
        """Free the model."""
        self._model = None


def loaders(
    folder: Path, shape: Shape, compute: Compute, names: Sequence[str] = PEERS
) -> dict[str, Callable[[], Engine]]:
    """Return what loads the peers that there are for a model, by name.

    Args:
        folder: The checkpoint.
        shape: What it is.
        compute: Where and in which precision.
        names: The peers asked for; `"padded"` only stands in where sentence-transformers is missing.
    """
    if shape.kind == "jina_bert":
        # transformers 5 has no code for it, so neither has anything built on it.
        known: dict[str, Callable[[], Engine]] = {"padded": partial(PaddedJinaBert, folder, shape, compute)}
    elif find_spec("sentence_transformers") and "sentence-transformers" in names:
        known = {"sentence-transformers": partial(SentenceTransformers, folder, compute)}
    else:
        known = {"padded": partial(PaddedTransformers, folder, shape, compute)}
    if shape.kind != "jina_bert" and not compute.on_card:
        known |= {
            "openvino": partial(compiled.OpenVino, folder, shape, compute.dtype),
            "openvino-streams": partial(compiled.OpenVino, folder, shape, compute.dtype, streams=2),
            "onnx": partial(compiled.OnnxRuntime, folder, shape),
        }
    return {name: known[name] for name in names if name in known}


def reference(folder: Path, shape: Shape, device: torch.device) -> tuple[Engine, str]:
    """Load what computes the right vectors: transformers' own code, padded, with plain attention, in float32.

    JinaBERT, which transformers lacks, is computed by `PaddedJinaBert`.

    Returns:
        The engine and its precision: bfloat16 where a card's memory is too small for float32.
    """
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    fits = device.type == "cpu" or torch.cuda.mem_get_info(device)[0] > _REFERENCE_ROOM * size
    compute = Compute(device, torch.float32 if fits else torch.bfloat16)
    if shape.kind == "jina_bert":
        return PaddedJinaBert(folder, shape, compute), compute.dtype_name
    return PaddedTransformers(folder, shape, compute, attention="eager"), compute.dtype_name


def cosines(vectors: np.ndarray, right: np.ndarray) -> dict[str, float]:
    """Return the least and the mean cosine between the rows of two arrays."""
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (vectors, right)]
    products = np.einsum("nd,nd->n", *(rows.astype(np.float64) for rows in unit))
    return {"least": float(products.min()), "mean": float(products.mean())}


def cosine_of_different(vectors: np.ndarray) -> float:
    """Return the mean cosine of different rows: near 1, agreement with the right vectors would prove nothing."""
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float64)
    count = len(unit)
    return float(np.tril(unit @ unit.T, -1).sum() / (count * (count - 1) / 2))
