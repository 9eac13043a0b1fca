"""jina-embeddings-v2."""

from __future__ import annotations

from qwen_embed_integrations.profiles.types import ModelProfile

_MTEB = "embeddings-benchmark/mteb @ a905523 mteb/models/model_implementations/jina_models.py (parameters)"
_COUNTED = "parameters counted from the shapes of the checkpoint"


def _embedding(variant: str, dimensions: int, parameters: int, *sources: str) -> ModelProfile:
    name = f"jinaai/jina-embeddings-v2-{variant}"
    return ModelProfile(
        name=name,
        dimensions=dimensions,
        max_tokens=8192,
        pooling="mean",
        # Their config.json says "bert": loaded as that, most of the weights are random.
        architecture="jina_bert",
        parameters=parameters,
        license="Apache-2.0",
        sources=(f"hf.co/{name} model card (length, pooling, no prompt, licence)", *sources),
    )


PROFILES: tuple[ModelProfile, ...] = (
    _embedding("small-en", 512, 32_690_688, "hf.co/jinaai/jina-embeddings-v2-small-en config.json (dimensions)", _MTEB),
    _embedding("base-en", 768, 137_368_320, "hf.co/jinaai/jina-embeddings-v2-base-en config.json (dimensions)", _MTEB),
    _embedding(
        "base-de", 768, 160_813_824, "hf.co/jinaai/jina-embeddings-v2-base-de config.json (dimensions)", _COUNTED
    ),
    _embedding(
        "base-zh",
        768,
        160_813_824,
        "huggingface/transformers#35320 and the file sizes on hf.co (same layout as base-de)",
        _COUNTED,
    ),
    # The one with normalised queries and keys: the same family, another layer layout.
    _embedding(
        "base-code", 768, 160_869_120, "hf.co/jinaai/jina-embeddings-v2-base-code config.json (dimensions)", _COUNTED
    ),
)
