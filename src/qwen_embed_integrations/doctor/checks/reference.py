"""Are the served vectors those of the same checkpoint in this process?"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from qwen_embed_integrations.doctor.data import samples
from qwen_embed_integrations.doctor.findings import Finding, note, ok, warning, wrong
from qwen_embed_integrations.doctor.server import cosines
from qwen_embed_integrations.embedder import Embedder
from qwen_embed_integrations.errors import QwenEmbedError, ServerError
from qwen_embed_integrations.profiles import ModelProfile
from qwen_embed_integrations.reranker import Reranker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_embed_integrations.doctor.server import ExaminedServer

_RIGHT, _ROUGH = 0.999, 0.99  # cosines: float32 or bfloat16 kernels of two engines, and other weights
_RIGHT_SCORE, _ROUGH_SCORE = 0.02, 0.06
_FITS_AS_FLOAT32 = 2e9  # parameters


def suggest(server: ExaminedServer) -> Iterator[Finding]:
    """Name the option where the model's folder is at hand."""
    if server.folder is not None:
        yield note(
            "reference",
            "The model's folder is on this machine: its vectors can be compared with those of the local classes.",
            mend=f"Run again with --reference {server.folder} (needs the local extra).",
        )


def check_reference(server: ExaminedServer, task: str, reference: str) -> Iterator[Finding]:
    """Compare with the local classes on the same checkpoint.

    Args:
        server: The server.
        task: `"embed"` or `"rerank"`.
        reference: A folder or a hub id.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield from _vectors(server, reference) if task == "embed" else _scores(server, reference)
    except ServerError:
        raise
    except QwenEmbedError as error:
        yield warning(
            "reference", f"`--reference` {reference} could not be used: {error}", mend="Give a folder or a hub id."
        )


def _vectors(server: ExaminedServer, reference: str) -> Iterator[Finding]:
    documents = [*samples.DISTINCT, *samples.ANSWERS]
    with _load(server, reference) as embedder:
        queries = [embedder.profile.prefix("query") + text for text in samples.QUESTIONS]
        prefix = embedder.profile.prefix("document")
        served = server.embed([*queries, *(prefix + text for text in documents)]).values
        local = np.concatenate([embedder.embed_queries(samples.QUESTIONS), embedder.embed_documents(documents)])
    if served.shape[1] != local.shape[1]:
        yield wrong(
            "reference",
            f"Served vectors have {served.shape[1]} dimensions, those of {reference} {local.shape[1]}.",
            cause="The server runs another model, or cuts vectors.",
        )
        return
    likeness = cosines(served, local.astype(np.float64))
    worst = float(likeness.min())
    comparison = f"Cosine of served and local vectors of {reference}: {worst:.6f} at worst over {len(likeness)} texts"
    if worst >= _RIGHT:
        yield ok("reference", f"{comparison}.", cosine=worst)
    elif worst >= _ROUGH or (server.is_quantized and worst >= 0.95):  # noqa: PLR2004 a cosine
        yield warning(
            "reference",
            f"{comparison}.",
            cause="Quantized weights, or half precision.",
            mend="Serve with the checkpoint's own precision and compare again.",
            cosine=worst,
        )
    else:
        yield wrong(
            "reference",
            f"{comparison}: they are not the same.",
            cause="Another tokenizer, pooling, prompt or other weights; see the other findings.",
            cosine=worst,
        )


def _load(server: ExaminedServer, reference: str) -> Embedder:
    try:
        return Embedder.local(reference, dtype=_dtype(server))
    except QwenEmbedError:
        profile = server.profile if isinstance(server.profile, ModelProfile) else server.presumed_profile
        if profile is None:
            raise
        # A folder without sentence-transformers' files does not say how to pool.
        return Embedder.local(reference, dtype=_dtype(server), profile=profile)


def _dtype(server: ExaminedServer) -> str:
    # One side exact, where memory allows it.
    parameters = server.profile.parameters if server.profile else None
    return "auto" if (parameters or 0) > _FITS_AS_FLOAT32 else "float32"


def _scores(server: ExaminedServer, reference: str) -> Iterator[Finding]:
    apart = 0.0
    with Reranker.local(reference, dtype=_dtype(server)) as reranker:
        for question in samples.QUESTIONS[:3]:
            served = server.rerank(question, samples.ANSWERS).values
            local = np.empty(len(samples.ANSWERS))
            for ranked in reranker.rerank(question, samples.ANSWERS):
                local[ranked.index] = ranked.score
            # Unlike max, this keeps NaN.
            apart = float(np.maximum(apart, np.abs(served - local).max()))
    comparison = f"Served and local scores of {reference} are at most {apart:.6f} apart"
    if apart <= _RIGHT_SCORE:
        yield ok("reference", f"{comparison}.", apart=apart)
    elif apart <= _ROUGH_SCORE or (server.is_quantized and apart <= 3 * _ROUGH_SCORE):
        yield warning(
            "reference",
            f"{comparison}.",
            cause="Half precision, quantized weights, or a prompt a little off; see the finding on the template.",
            apart=apart,
        )
    else:
        yield wrong(
            "reference",
            f"{comparison}: they are not the same.",
            cause="Another prompt or other weights; see the finding on the template.",
            apart=apart,
        )
