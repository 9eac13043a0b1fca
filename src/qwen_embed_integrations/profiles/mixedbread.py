"""mxbai-embed and mxbai-rerank."""

from __future__ import annotations

from qwen_embed_integrations.profiles.types import ModelProfile, RerankProfile

# The space at the end is part of it.
_INSTRUCTION = "Represent this sentence for searching relevant passages: "

_MTEB = "embeddings-benchmark/mteb @ a905523 mteb/models/model_implementations/mixedbread_ai_models.py"
_RERANK_V2 = "mixedbread-ai/mxbai-rerank @ 8e709dc mxbai_rerank/mxbai_rerank_v2.py"
_RERANK_README = "mixedbread-ai/mxbai-rerank @ 8e709dc README.md"

_TASK = (
    "You are a search relevance expert who evaluates how well documents match search queries. For each "
    "query-document pair, carefully analyze the semantic relationship between them, then provide your binary "
    "relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:"
)


def _reranker_v1(size: str, parameters: int, aliases: tuple[str, ...] = ()) -> RerankProfile:
    return RerankProfile(
        name=f"mixedbread-ai/mxbai-rerank-{size}-v1",
        method="cross_encoder",
        max_tokens=512,
        architecture="deberta-v2",
        parameters=parameters,
        license="Apache-2.0",
        aliases=aliases,
        # The README prints v2's size for large-v1; mteb's is the checkpoint's.
        sources=(f"{_MTEB} (length, parameters, licence)", f"{_RERANK_README} (cross-encoder, one score)"),
    )


def _reranker_v2(size: str, parameters: int) -> RerankProfile:
    return RerankProfile(
        name=f"mixedbread-ai/mxbai-rerank-{size}-v2",
        method="token_logits",
        prefix=(
            "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
            "<|im_start|>user\n"
        ),
        body=(
            "{instruction}query: {query}",
            "\n",
            "document: {document}",
            "\n",
            _TASK,
        ),
        instruction_line="instruction: {instruction}\n",
        suffix="<|im_end|>\n<|im_start|>assistant\n",
        true_token="1",  # noqa: S106 a token of text, no secret
        false_token="0",  # noqa: S106
        # The authors' own default; the model reads up to 32K.
        max_tokens=8192,
        architecture="qwen2",
        parameters=parameters,
        license="Apache-2.0",
        sources=(f"{_RERANK_V2} (prompt, tokens, length)", f"{_MTEB} (parameters, licence)"),
    )


PROFILES: tuple[ModelProfile | RerankProfile, ...] = (
    ModelProfile(
        name="mixedbread-ai/mxbai-embed-large-v1",
        dimensions=1024,
        max_tokens=512,
        pooling="cls",
        query_prefix="{instruction}",
        default_instruction=_INSTRUCTION,
        min_dimensions=1,  # trained to be cut; no smallest size is published
        architecture="bert",
        parameters=335_141_888,
        license="Apache-2.0",
        aliases=("mxbai-embed-large", "mxbai-embed-large:335m"),
        sources=(
            f"{_MTEB} (query instruction, length, dimensions, parameters, licence)",
            "hf.co/mixedbread-ai/mxbai-embed-large-v1 model card (pooling, Matryoshka)",
        ),
    ),
    ModelProfile(
        name="mixedbread-ai/mxbai-embed-2d-large-v1",
        dimensions=1024,  # mteb's 768 is the card's example of a cut vector
        max_tokens=512,
        pooling="cls",
        query_prefix="{instruction}",
        default_instruction=_INSTRUCTION,
        min_dimensions=1,
        architecture="bert",
        parameters=335_141_888,
        license="Apache-2.0",
        aliases=("mxbai-embed-2d-large",),
        sources=(
            "hf.co/mixedbread-ai/mxbai-embed-2d-large-v1 config.json (dimensions, length)",
            "hf.co/mixedbread-ai/mxbai-embed-2d-large-v1 model card (pooling, Matryoshka)",
            "mixedbread.ai/docs/embeddings/mxbai-embed-2d-large-v1 (query instruction)",
            f"{_MTEB} (parameters, licence)",
        ),
    ),
    ModelProfile(
        name="mixedbread-ai/mxbai-embed-xsmall-v1",
        dimensions=384,
        max_tokens=4096,  # mteb reads 512 of them
        pooling="mean",
        query_prefix="{instruction}",
        default_instruction=None,  # no source asks for the family's sentence at this size; it may be given
        min_dimensions=1,
        architecture="bert",
        parameters=24_089_472,  # the authors' 22.7M leave out most of the position table
        license="Apache-2.0",
        aliases=("mxbai-embed-xsmall",),
        sources=(
            "mixedbread.com/docs/models/embedding/mxbai-embed-xsmall-v1 (dimensions, length, Matryoshka, licence)",
            "hf.co/mixedbread-ai/mxbai-embed-xsmall-v1 model card (pooling)",
            f"{_MTEB} (parameters)",
        ),
    ),
    _reranker_v1("xsmall", 70_830_337, aliases=("mxbai-rerank-xsmall",)),  # the one size that has no v2
    _reranker_v1("base", 184_422_913),
    _reranker_v1("large", 435_062_785),
    _reranker_v2("base", 494_032_768),
    _reranker_v2("large", 1_543_714_304),
)
