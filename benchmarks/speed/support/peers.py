"""This package and its peers, ready to embed, each loaded from the same checkpoint in the same precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from qwen_embed_integrations import Embedder
from support import compiled
from support.padded import PaddedJinaBert

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from support.shapes import Shape
    from support.texts import Texts

PEERS = ("sentence-transformers", "openvino", "openvino-streams", "onnx", "padded")


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
    """`Embedder.local`."""

    def __init__(self, folder: Path, dtype: torch.dtype, *, token_budget: int | None = None) -> None:
        self.name = "Embedder.local" if token_budget is None else f"Embedder.local, {token_budget} tokens a pass"
        named = str(dtype).removeprefix("torch.")
        self._embedder = Embedder.local(folder, device="cpu", dtype=named, token_budget=token_budget)

    def embed(self, texts: Texts, batch: int | None) -> np.ndarray:  # noqa: ARG002 it packs by tokens
        """Return unit vectors of shape `(n, dimensions)`, in order."""
        if texts.role == "query":
            return self._embedder.embed_queries(texts.texts)
        return self._embedder.embed_documents(texts.texts)

    def close(self) -> None:
        """Free the model."""
        self._embedder.close()


class SentenceTransformers:
    """sentence-transformers on torch, with its own choice of attention."""

    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        self.name = "sentence-transformers" + (" (fp32)" if dtype == torch.float32 else "")
        self._model: Any = SentenceTransformer(
            str(folder), device="cpu", model_kwargs={"dtype": dtype}, local_files_only=True
        )

    def embed(self, texts: Texts, batch: int | None) -> np.ndarray:
        """Return unit vectors of shape `(n, dimensions)`, in order."""
        encode = self._model.encode_query if texts.role == "query" else self._model.encode_document
        return np.asarray(encode(texts.texts, batch_size=batch or 32, show_progress_bar=False))

    def close(self) -> None:
        """Free the model."""
        self._model = None


def cosines(vectors: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Return the least and the mean cosine between the rows of two arrays."""
    rows = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (vectors, reference)]
    each = np.einsum("nd,nd->n", *(row.astype(np.float64) for row in rows))
    return float(each.min()), float(each.mean())


def load(
    folder: Path, shape: Shape, dtype: torch.dtype, wanted: Sequence[str] = PEERS
) -> tuple[list[Engine], dict[str, str]]:
    """Load the peers that run here.

    Args:
        folder: The checkpoint.
        shape: What it is.
        dtype: Number format to compute in.
        wanted: Which ones.

    Returns:
        The peers, and why the others do not run.
    """
    # transformers 5 has no code for JinaBERT, so neither has anything built on it.
    makers: dict[str, Callable[[], Engine]] = (
        {"padded": lambda: PaddedJinaBert(folder, shape, dtype)}
        if shape.kind == "jina_bert"
        else {
            "sentence-transformers": lambda: SentenceTransformers(folder, dtype),
            "openvino": lambda: compiled.OpenVino(folder, shape, dtype),
            "openvino-streams": lambda: compiled.OpenVino(folder, shape, dtype, streams=2),
            "onnx": lambda: compiled.OnnxRuntime(folder, shape),
        }
    )
    found: list[Engine] = []
    missing = {}
    for name in wanted:
        try:
            found += [makers[name]()] if name in makers else []
        except Exception as error:  # noqa: BLE001 exporters fail in many ways
            missing[name] = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return found, missing


def reference(folder: Path, shape: Shape) -> Engine:
    """Load what computes the vectors in float32."""
    if shape.kind == "jina_bert":
        return PaddedJinaBert(folder, shape, torch.float32)
    return SentenceTransformers(folder, torch.float32)
